/* Products on scratch: one panel against as many rows, or as long rows, as a block has, in the register tiles of
 * kernels/micro.h.
 *
 * k is worked off in pieces whose part of the panel stays in level 1, or in level 2 where that is read as fast: for
 * each piece all tiles, whose chains of multiply-adds go on where the piece before left them. So pieces leave the bits
 * alone. */
#ifndef CK_MULTIPLY_H
#define CK_MULTIPLY_H

#include "base/dispatch.h"

/* Of `rows` rows at offsets ro, all register tiles, those of larger height first; how many those are. */
int64_t ck_row_panel_count(const ck_kernels *kernels, int64_t rows);
void ck_row_panels_set(const ck_kernels *kernels, const int32_t *ro, int64_t rows, int64_t height,
                       ck_row_panel *panels);

/* The height of all but the last with which tiles of one vector of lanes end where runs of rows at one step do, or 0;
 * and how many panels there may be of it. */
int64_t ck_row_panel_height(const ck_kernels *kernels, const int32_t *ro, int64_t rows);
int64_t ck_row_panel_bound(const ck_kernels *kernels, int64_t rows);

/* What becomes of a chain: it is stored, added to what is there, or goes on from it. */
typedef enum ck_chain { CK_STORE, CK_ADD, CK_GO_ON } ck_chain;

/* Whether ko has a constant step. */
int ck_is_steady(const int32_t *ko, int64_t k);

/* total[i][j] = chain over k of row i times panel[k][j]. */
typedef struct ck_row_product {
  const ck_kernels *kernels;
  int by_group;        /* rows are vectors: group strips */
  int narrow;          /* lanes are half a vector or fewer, and there are strips of them */
  int ahead;           /* whether what the next tile reads is fetched: of data in memory, not in scratch */
  int64_t k, rows, ld; /* ld: lanes of the panel and of total, one vector or two */
  int64_t height;      /* of all tiles but the last; 0: they are balanced */
  const void *data;
  const int32_t *ko;          /* [k]: row i reads data[ro[i] + ko[k]] ... */
  int steady;                 /* whether ko has a constant step */
  const ck_row_panel *panels; /* ... of ck_row_panels_set's ro */
  const void *panel;
  const int32_t *po; /* [k]: where in the panel each product's lanes are, in elements; NULL: one after the other */
  const void *next;  /* what comes after the panel, from far away, or NULL */
  int64_t next_row; /* bytes of it for each product, whose lines are next to each other; 0: those of a panel, in turn */
  void *chain;      /* of total's size; NULL: k is too small to be cut */
  void *total;
  ck_chain mode;
  const ck_finish *finish; /* where sums go in place of total; or NULL */
} ck_row_product;

void ck_multiply_rows(const ck_row_product *product);

/* The same of several products side by side, the points of Winograd's, over so few k that they are one run. */
typedef struct ck_point_product {
  const ck_kernels *kernels;
  int64_t points, k, rows, ld;
  const void *data;
  const int32_t *ko;
  int steady;
  const ck_row_panel *panels; /* [row panel][point] */
  const void *panel;
  void *total;
  int64_t panel_apart, total_apart; /* elements, from point to point */
  int go_on;                        /* from what total holds */
  const void *next;                 /* what comes after the panel, from far away, or NULL */
  int64_t next_bytes;
} ck_point_product;

void ck_multiply_points(const ck_point_product *product);

/* total[i][j] = chain over k of panel[k][i] * data[ko[k] + j], for `lanes` neighbours j; or, of the q-th vector of
 * them, of data[ko[k] + vo[q]] and its neighbours. panel is [k][height rounded up to vectors]; whole vectors of data
 * are read and of total written. With `finish` the sums go there alone. */
typedef struct ck_lane_product {
  const ck_kernels *kernels;
  int64_t k, height, lanes, ldc; /* ldc: from row to row of chain and total */
  int ahead;                     /* whether what the next tile reads is fetched: of data in memory, not in scratch */
  int64_t streams;               /* of k, how many at a time; 0: by the panel's size, if k may be cut */
  int steady;                    /* whether ko has a constant step */
  int64_t wide;                  /* data in bands: vectors of one at most; or 0 */
  int64_t runs, run;             /* of so many lanes each, finished so many bytes apart; or 0: one run */
  const void *data;
  const int32_t *ko, *vo; /* vo: or NULL */
  const void *panel;
  const void *next; /* what comes after the panel, from far away, or NULL */
  int64_t next_row; /* bytes from product to product */
  void *chain, *total;
  ck_chain mode;
  const ck_finish *finish; /* or NULL */
} ck_lane_product;

void ck_multiply_lanes(const ck_lane_product *product);

/* Products of a piece of k, of which one takes `bytes` of the panel, and whose data lie apart or are neighbours: the
 * largest number cut from k. */
int64_t ck_multiply_piece(const ck_kernels *kernels, int64_t k, int64_t bytes, int apart);

#endif
