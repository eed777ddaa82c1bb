/* Weights as panels: packed for the block at work, or of all tiles and k-blocks, laid ready ahead of the tasks. */
#ifndef CK_DENSE_READY_H
#define CK_DENSE_READY_H

#include "dense_block.h"

/* Takes the taps of the k-block that are of the task's phases: all of them, where there is one phase. How many. */
int64_t ck_dense_take_taps(ck_block *block, const ck_kblock *kblock);

/* Says where each phase's rows of a panel begin. If there are several phases, sorts (channel, tap) rows by them,
 * channels outermost within one as everywhere, and their window offsets with them. */
void ck_dense_set_rows(const ck_block *block, const ck_kblock *kblock, int64_t taps);

/* Of a block that does not take all taps of a k-block: which rows its panel has of that of all, where weights lie
 * ready.
 */
void ck_dense_set_picked(const ck_block *block, int64_t kblock);

/* Sets the block's panel: one that lies ready, or its rows, or packed here; and of what lies ready the one that comes
 * next, of tile `next`. Whether anything is not finite. */
int ck_dense_set_panel(ck_block *block, const ck_tile *tile, int64_t tile_index, int64_t kblock, int64_t next);

/* Writes ck_dense_panels' weights, for `prepared`; scratch is of plan->bytes. */
void ck_dense_pack(const ck_dense *dense, const ck_dense_plan *plan, void *scratch, char *panels);

/* The same by tasks, into the call's workspace, for all tasks that follow. */
ck_status ck_dense_pack_shared(ck_dense_call *call, const ck_run *run);

#endif
