/* Blocks of channels whose values are adjacent, one worker's: what reads their sums next finds them in its cache. */
#ifndef CK_CHANNELS_H
#define CK_CHANNELS_H

#include "base/parallel.h"

/* How many channels a block has. */
int64_t ck_channels_together(const ck_channels *call);

/* Sums, or a map, of `count` channels from the first on, of all images. */
void ck_channels_sum(const ck_channels *call, ck_worker *worker, int64_t first, int64_t count);
void ck_channels_map(const ck_channels *call, ck_worker *worker, int64_t first, int64_t count);

#endif
