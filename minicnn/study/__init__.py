"""What makes a network visible: `model_summary` prints its table, `audit` holds it against what was published, `plots`
draws it and its training; `python -m minicnn.study` makes each picture in one command.
"""
