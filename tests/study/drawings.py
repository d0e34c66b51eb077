"""Looking at pictures: the pixels of a PNG, what is written, what sticks out."""


def read_png(path):
    """The pixels (H, W, 3 or 4); checks the signature."""
    from matplotlib import image

    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing unfinished beside it
    return image.imread(path)


def texts(figure):
    """Everything written in a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_inside(figure):
    """Nothing drawn sticks out of the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, size = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= size[0]
    assert box.y1 <= size[1]
