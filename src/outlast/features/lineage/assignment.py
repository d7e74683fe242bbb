"""The best one-to-one assignment of rows: the shortest augmenting path algorithm (Jonker and
Volgenant 1987, in the form of Crouse 2016, doi:10.1109/TAES.2016.140952), with one numpy operation
for each step over all columns.
"""

import numpy as np
import numpy.typing as npt


def assign(score: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """For each row of a square matrix of finite scores (n by n) its column, so that the sum is the
    largest. Time is at most cubic in n. Equal sums: any of them.
    """
    cost = -np.asarray(score, dtype=np.float64)
    n = cost.shape[0]
    of_row = np.zeros(n)
    of_column = np.zeros(n)
    column_of = np.full(n, -1, dtype=np.int64)
    row_of = np.full(n, -1, dtype=np.int64)
    for start in range(n):
        shortest = np.full(n, np.inf)
        came_from = np.full(n, -1, dtype=np.int64)
        done = np.zeros(n, dtype=bool)
        rows = [start]
        row, least, sink = start, 0.0, -1
        while sink < 0:
            through = least + cost[row] - of_row[row] - of_column
            better = ~done & (through < shortest)
            shortest[better] = through[better]
            came_from[better] = row
            column = int(np.argmin(np.where(done, np.inf, shortest)))
            least = float(shortest[column])
            done[column] = True
            if row_of[column] < 0:
                sink = column
            else:
                row = int(row_of[column])
                rows.append(row)
        of_row[start] += least
        for other in rows[1:]:
            of_row[other] += least - shortest[column_of[other]]
        of_column[done] -= least - shortest[done]
        column = sink
        while True:
            row = int(came_from[column])
            row_of[column] = row
            column_of[row], column = column, int(column_of[row])
            if row == start:
                break
    return column_of
