"""How many bytes the content of a data file may have in memory, so that a small file cannot fill it.

A file that is packed says how much it unfolds to; that number is compared with `most_bytes` before it is believed.
Honest files stay far below: pictures unfold to 5 times their size, tables of zeros and ones to some hundred times.
"""

SMALL_BYTES = 2**26  # what any file may unfold to, however small it is
MOST_TIMES = 500  # its size, which a larger content may have; a bomb of zeros has 1000
MAX_BYTES = 2**32  # of any content


def most_bytes(file_bytes: int) -> int:
    """Return how many bytes the content of a file of that size may have."""
    return min(max(SMALL_BYTES, MOST_TIMES * file_bytes), MAX_BYTES)
