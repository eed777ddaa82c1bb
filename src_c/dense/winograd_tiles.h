/* Winograd's tiles, of 4x4 outputs, and their 36 points: what is brought in, forward and for every gradient. */
#ifndef CK_WINOGRAD_TILES_H
#define CK_WINOGRAD_TILES_H

#include "window.h"

enum { CK_WINOGRAD_TILE = 4, CK_WINOGRAD_POINTS = 36, CK_WINOGRAD_TAPS = 9, CK_WINOGRAD_MARGIN = 2 };

/* Point e of channel c of tile t goes to e * to_point + t * to_tile + c; tiles of an image's planes follow one another,
 * of all planes that the first axis's taps reach. */
typedef struct ck_winograd_load {
  ck_window *window; /* of ck_winograd_axis's; a vector of channels at each position */
  void (*transform)(const ck_winograd_tiles *);
  int64_t margin; /* what a tile reads beyond its own 4 positions: CK_WINOGRAD_MARGIN, or nothing */
  int64_t planes; /* taps of the first axis */
  char *to;
  int64_t to_point, to_tile;
} ck_winograd_load;

/* Of `channels` channels of the tensor, from `first` on. */
void ck_winograd_load_tiles(const ck_winograd_load *load, const ck_box *tiles, int64_t first, int64_t channels);

/* Chooses these tiles alone, for the tables of the window's first axis. */
void ck_winograd_set_tiles(const ck_winograd_load *load, const ck_box *tiles);

/* Where the inputs of each of these tiles lie among the transformed ones, in elements, `each` of a tile; of the first
 * tap of the first axis. */
void ck_winograd_tile_offsets(const ck_window *window, const ck_box *tiles, int64_t each, int32_t *offset);

/* The window of such a box of tiles, at its largest. */
ck_window_size ck_winograd_window(const int64_t tiles[4], int64_t margin, int64_t planes);

/* One of the last two axes: each step-th coordinate from `base` on. */
ck_axis ck_winograd_axis(int64_t outputs, int64_t source, int64_t base, int64_t step, int mode);

/* Elements from point to point: an odd number of cache lines, so that 36 of them meet in no set. */
int64_t ck_winograd_point(int64_t elements, int64_t item);

#endif
