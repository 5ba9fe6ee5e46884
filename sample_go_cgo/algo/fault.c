#include "fault.h"

#include <stdatomic.h>

static _Atomic uint64_t on;

void fault_switch_on(enum fault f) { atomic_fetch_or(&on, UINT64_C(1) << f); }

bool fault_on(enum fault f) {
  return (atomic_load_explicit(&on, memory_order_relaxed) >> f & 1) != 0;
}
