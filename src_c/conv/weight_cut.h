/* How a gradient of the weight, dW, is cut into tasks, and where their sums go.
 *
 * Tasks are disjoint tiles of dW, (channel, tap) rows by output channels, which run over all pixels in order: no
 * partial sums, any number of threads. Only where dW is too small to share out, pixels are cut into a few segments by
 * shape alone, whose sums are kept apart and added in order. */
#ifndef CK_WEIGHT_CUT_H
#define CK_WEIGHT_CUT_H

#include "base/geometry.h"
#include "base/memo.h"

typedef struct ck_weight_cut {
  const ck_conv *call;
  const ck_kernels *k;
  int by_lanes;                   /* CK_LANES: a vector of groups at each position */
  ck_reduction rows;              /* dW's (channel, tap) pairs, cut into blocks */
  int64_t outer, tiles, ld;       /* groups, or vectors of them; lane tiles of each; lanes of a tile */
  int64_t row_parts, max_rows;    /* blocks of rows, and the largest one's */
  int64_t tile_parts, part_tiles; /* how the tiles are split over tasks, and the largest part */
  int64_t segments;               /* of the pixels, whose sums are added in order */
  int64_t tasks, bytes;           /* scratch for each thread */
  int64_t partial;                /* elements of one task's sums */
} ck_weight_cut;

/* What a task computes: of some lane tiles the rows of a block, over a segment of the pixels. */
typedef struct ck_weight_part {
  int64_t segment, outer, row_part, tile, tile_end;
  ck_kblock rows;
  int64_t row_count;
} ck_weight_part;

/* Of the call's dW, or, without a weight, of its bias alone: all but how it is cut into tasks. */
ck_weight_cut ck_weight_cut_of(const ck_conv *call, int by_lanes);

/* Pixels in order, cut into chunks, each of which is one chain of multiply-adds for every sum. They decide bits. */
ck_grid ck_weight_chunks(const ck_conv *call);

/* All that a plan of a gradient of the weight follows from. */
ck_memo_key ck_weight_key(const ck_conv *call, int transposed);

/* Cuts dW: about `cap` rows, and a share of the lane tiles; `largest` is the largest block of rows. */
void ck_weight_cut_set(ck_weight_cut *cut, int64_t cap, int64_t tile_parts, ck_kblock *largest);

/* Segments, of at most `chunks` that they consist of, where dW, of so many rows, is little. They decide bits, and so
 * follow from shape and dtype alone: register tiles are counted as the widest instruction set has them. */
int64_t ck_weight_segments(const ck_weight_cut *cut, int64_t rows, int64_t chunks);

ck_weight_part ck_weight_part_at(const ck_weight_cut *cut, int64_t index);

/* The lanes of a tile: the first output channel, the step between neighbouring lanes, and how many. */
void ck_weight_lanes(const ck_weight_cut *cut, const ck_weight_part *part, int64_t tile, int64_t *first, int64_t *step,
                     int64_t *lanes);

/* Lanes of the tile's panel and sums: the last tile may have one vector of them where others have two. */
int64_t ck_weight_ld(const ck_weight_cut *cut, int64_t tile);

/* The sums of a task, [tile][row][lane], the last row being the bias's, begin at zero: in its scratch or, if they have
 * to be joined, in the workspace, `shared` bytes of it. At its end those of one segment are stored. */
int64_t ck_weight_shared(const ck_weight_cut *cut);

/* How many bytes a thread takes beyond what it may: where there is a limit, its part of what `shared` ones leave. */
int64_t ck_weight_above(const ck_weight_cut *cut, int64_t shared, const ck_run *run);

char *ck_weight_sums(const ck_weight_cut *cut, int64_t index, char *scratch);
char *ck_weight_tile(const ck_weight_cut *cut, const ck_weight_part *part, char *sums, int64_t tile);
void ck_weight_store(const ck_weight_cut *cut, const ck_weight_part *part, int64_t tile, const char *sums);
void ck_weight_end(const ck_weight_cut *cut, const ck_weight_part *part, char *sums);
ck_status ck_weight_join(const ck_weight_cut *cut);

#endif
