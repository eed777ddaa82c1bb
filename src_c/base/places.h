/* The positions of one image, in row-major order, as they lie in memory, and their way between there and scratch, where
 * they are adjacent with a vector of channels at each. */
#ifndef CK_PLACES_H
#define CK_PLACES_H

#include "dispatch.h"
#include "geometry.h"

typedef struct ck_places {
  char *data;
  const char *end; /* of the whole tensor: no byte from here on is ever read */
  int64_t size[3], stride[3], lane_stride, count;
  int even; /* each position is stride[2] from the one before */
} ck_places;

/* Image `image` of a tensor of n of them. */
ck_places ck_places_of(const ck_tensor *tensor, int64_t n, int64_t channels, const int64_t spatial[3], int64_t item,
                       int64_t image);

/* Address of position p, and how many from there on, at most `most`, are stride[2] apart. */
int64_t ck_run_at(const ck_places *places, int64_t p, int64_t most, char **at);

/* Channels channel..channel+lanes-1, at most a vector of them, of positions first..first+count-1. */
void ck_load_places(const ck_kernels *k, const ck_places *from, int64_t channel, int64_t lanes, int64_t first,
                    int64_t count, void *to);
void ck_store_places(const ck_kernels *k, const ck_places *to, int64_t channel, int64_t lanes, int64_t first,
                     int64_t count, const void *from);

/* Rows of `count` elements that are `step` bytes apart, to scratch: rows begin from_row bytes, and to_row elements, one
 * after the other. */
void ck_load_rows(const ck_kernels *k, void *to, int64_t to_row, const char *from, int64_t from_row, int64_t rows,
                  int64_t step, int64_t count);

#endif
