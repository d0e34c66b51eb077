"""Where the first NaN or infinity of a training was made, and why: `detecting` watches, `causes` guesses."""
