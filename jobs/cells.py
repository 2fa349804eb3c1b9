"""
Finding the jobs around a point: an area is covered with H3 cells when it is published, a feed looks for the point's cells.

Both sides use H3's hierarchy: a point belongs to its finest cell and to that cell's parents, and a cell of the cover stands
for all the finest cells below it. (Asking H3 for the point's cell at each resolution instead would not do: parents and
children overlap, so a covered cell's children stick out of it.) The cover is a superset of the area; `geo.contains` or
`geo.distance_km_sql` decides.
"""

import math
from collections import deque

import h3.api.basic_int as h3
import shapely
from shapely.geometry.base import BaseGeometry

from jobs.geo import EARTH_RADIUS_KM, Area, Disc, Point, Region, distance_km

# Cells of resolution 9 are about 0.1 km2: fine enough to tell streets apart, and the exact check follows anyway.
FINEST = 9

# The cell of jobs that may be done anywhere. No H3 index is 0.
EVERYWHERE = 0

# How far any point of any descendant lies from a cell's centre. Each resolution shrinks by sqrt(7); measured over all cells
# of resolution 0 to 2, all pentagons and random finer ones, the largest was 1,460 km * 7 ** (-resolution / 2).
_REACH_KM = tuple(1_500 / math.sqrt(7) ** resolution for resolution in range(FINEST + 1))


def ancestors(point: Point) -> list[int]:
    """The cells a cover may have this point in: from `EVERYWHERE` over the point's ten H3 cells to the finest."""
    finest = h3.latlng_to_cell(point.latitude, point.longitude, FINEST)
    return [EVERYWHERE, *(h3.cell_to_parent(finest, resolution) for resolution in range(FINEST)), finest]


def cover(area: Area, *, max_cells: int = 24) -> frozenset[int]:
    """
    H3 cells of mixed resolutions that hold every point of the area, as positive 64-bit integers: of each point in the area,
    exactly one of `ancestors(point)` is among them (no cell holds another). Empty if the area's two shapes are apart.

    More cells fit closer: 24 hold 1.6 times the surface of a disc, 64 hold 1.3 times, at twice the rows to write. Never finer
    than resolution 9, never fewer than the cells of resolution 0 that the area meets (at most 17 for 2,000 km).
    """
    covering: set[int] = set()
    undecided = deque(cell for cell in h3.get_res0_cells() if _meets(area, cell))
    while undecided:  # coarsest first: they are the ones worth splitting
        cell = undecided.popleft()
        if h3.get_resolution(cell) == FINEST or _within(area, cell):
            covering.add(cell)
            continue
        children = [child for child in h3.cell_to_children(cell) if _meets(area, child)]
        if len(covering) + len(undecided) + len(children) > max_cells:
            covering.add(cell)
        else:
            undecided.extend(children)
    return frozenset(_merged(covering))


def _merged(cells: set[int]) -> set[int]:
    """The same cover with whole families replaced by their parent."""
    for resolution in range(FINEST, 0, -1):
        parents = {h3.cell_to_parent(cell, resolution - 1) for cell in cells if h3.get_resolution(cell) == resolution}
        for parent in parents:
            family = set(h3.cell_to_children(parent))
            if family <= cells:
                cells = cells - family | {parent}
    return cells


def _meets(area: Area, cell: int) -> bool:
    """Whether the area and a point below the cell could coincide; errs towards yes."""
    where, reach_km = _center(cell), _REACH_KM[h3.get_resolution(cell)]
    return all(_shape_meets(shape, where, reach_km) for shape in area.shapes)


def _within(area: Area, cell: int) -> bool:
    """Whether all of the cell's descendants lie in the area for sure; errs towards no."""
    where, reach_km = _center(cell), _REACH_KM[h3.get_resolution(cell)]
    return all(_shape_surrounds(shape, where, reach_km) for shape in area.shapes)


def _shape_meets(shape: Disc | Region, where: Point, reach_km: float) -> bool:
    if isinstance(shape, Disc):
        return distance_km(shape.center, where) <= shape.radius_km + reach_km
    return bool(shapely.intersects(shape.shape, _around(where, reach_km)))


def _shape_surrounds(shape: Disc | Region, where: Point, reach_km: float) -> bool:
    if isinstance(shape, Disc):
        return distance_km(shape.center, where) + reach_km <= shape.radius_km
    return bool(shapely.covers(shape.shape, _around(where, reach_km)))


def _center(cell: int) -> Point:
    return Point(*h3.cell_to_latlng(cell))


def _around(where: Point, reach_km: float) -> BaseGeometry:
    """
    The box in degrees around all points within reach: two boxes over the antimeridian, all longitudes at a pole.

    Width by J. P. Matuschek, "Finding Points Within a Distance of a Latitude/Longitude Using Bounding Coordinates", 3.3.
    """
    angle = reach_km / EARTH_RADIUS_KM
    latitude = math.radians(where.latitude)
    south, north = where.latitude - math.degrees(angle), where.latitude + math.degrees(angle)
    if south <= -90 or north >= 90:
        return shapely.box(-180, max(south, -90), 180, min(north, 90))
    width = math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(latitude))))
    west, east = where.longitude - width, where.longitude + width
    if west < -180:
        return shapely.MultiPolygon([shapely.box(-180, south, east, north), shapely.box(west + 360, south, 180, north)])
    if east > 180:
        return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east - 360, north)])
    return shapely.box(west, south, east, north)
