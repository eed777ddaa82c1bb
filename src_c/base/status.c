#include "convkit.h"

const char *ck_status_name(ck_status status) {
  static const char *const names[] = {[CK_OK] = "done",
                                      [CK_INTERRUPTED] = "interrupted",
                                      [CK_WORKSPACE] = "workspace smaller than what was asked for",
                                      [CK_UNSUPPORTED] = "algorithm that cannot do this shape",
                                      [CK_BAD_INDEX] = "index outside its plane",
                                      [CK_FORKED] = "forked"};
  return names[status];
}
