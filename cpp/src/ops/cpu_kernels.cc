#include "ops/cpu_kernels.h"

// Each of ops/cpu/*.cc defines its register function once per ISA.
#define FORESIGHT_DECLARE_KERNELS(isa)          \
  namespace foresight::ops::isa {               \
  void register_matmul(KernelRegistry&);        \
  void register_rmsnorm(KernelRegistry&);       \
  void register_rope(KernelRegistry&);          \
  void register_gated_mlp(KernelRegistry&);     \
  void register_embedding(KernelRegistry&);     \
  void register_kv_write(KernelRegistry&);      \
  void register_attention(KernelRegistry&);     \
  void register_readout(KernelRegistry&);       \
  static void register_all(KernelRegistry& r) { \
    register_matmul(r);                         \
    register_rmsnorm(r);                        \
    register_rope(r);                           \
    register_gated_mlp(r);                      \
    register_embedding(r);                      \
    register_kv_write(r);                       \
    register_attention(r);                      \
    register_readout(r);                        \
  }                                             \
  }

FORESIGHT_DECLARE_KERNELS(generic)
#if FORESIGHT_X86
FORESIGHT_DECLARE_KERNELS(avx2)
FORESIGHT_DECLARE_KERNELS(avx512)
FORESIGHT_DECLARE_KERNELS(avx512_bf16)
#endif

namespace foresight::ops {

void register_cpu_kernels(KernelRegistry& registry) {
  generic::register_all(registry);
#if FORESIGHT_X86
  avx2::register_all(registry);
  avx512::register_all(registry);
  avx512_bf16::register_all(registry);
#endif
}

}  // namespace foresight::ops
