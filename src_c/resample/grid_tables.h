/* The tables of a block of output positions: which elements each reads, with which weights. */
#ifndef CK_GRID_TABLES_H
#define CK_GRID_TABLES_H

#include "grid_plan.h"

/* The elements that a block's tables name, along each axis; none where most < least. */
typedef struct ck_grid_extent {
  int64_t least[3], most[3];
} ck_grid_extent;

/* The tables of positions first..; rows outside low..high-1 of the outermost axis are left out. */
ck_grid_extent ck_grid_fill(const ck_grid_plan *plan, const ck_grid_buffers *buffers, int64_t image, int64_t first,
                            int64_t count, int64_t low, int64_t high);
int ck_grid_names_none(const ck_grid_extent *extent);

/* A lookup through the block's tables, into or out of scratch; and the same from position q of the block on. */
ck_lookup ck_grid_lookup(const ck_grid_plan *plan, const ck_grid_buffers *buffers, int64_t count, int64_t lanes);
ck_lookup ck_grid_lookup_from(const ck_grid_plan *plan, const ck_lookup *lookup, int64_t q, int64_t count);

#endif
