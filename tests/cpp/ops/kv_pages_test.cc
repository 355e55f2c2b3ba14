#include "ops/kv_pages.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/buffer.h"
#include "cpp/ops/op_fixture.h"
#include "ops/parity/cases.h"

namespace foresight::ops {
namespace {

// Two small pools of pages of the same shape.
struct Pool {
  Pool(DType dtype, std::int64_t num_pages)
      : pages{.dtype = dtype, .num_kv_heads = 2, .head_dim = 6} {
    const auto bytes = static_cast<std::size_t>(num_pages * pages.page_elements()) * size_of(dtype);
    keys = Buffer(bytes);
    values = Buffer(bytes);
    pages.keys = keys.data();
    pages.values = values.data();
  }
  bool operator==(const Pool& other) const {
    return std::memcmp(keys.data(), other.keys.data(), keys.size()) == 0 &&
           std::memcmp(values.data(), other.values.data(), values.size()) == 0;
  }
  KvPages pages;
  Buffer keys, values;
};

class KvPagesOps : public OnEveryIsa {};

// Copying a slot gives what writing the row there gives, in the order of the copies.
TEST_P(KvPagesOps, ACopyIsAWrite) {
  for (const DType dtype : parity::kAllDTypes) {
    const std::vector<float> k = parity::random_values(1, 2 * 12),
                             v = parity::random_values(2, 2 * 12);
    Pool copied(dtype, 3), written(dtype, 3);
    const auto write = [&](Pool& pool, std::vector<KvSlot> slots, std::int64_t first) {
      kv_write(context(), {.pages = pool.pages,
                           .slots = slots.data(),
                           .num_rows = static_cast<std::int64_t>(slots.size()),
                           .k = k.data() + first * 12,
                           .v = v.data() + first * 12,
                           .stride = 12});
    };
    write(copied, {{0, 3}, {1, 15}}, 0);
    const KvSlot from[] = {{0, 3}, {2, 0}, {1, 15}, {1, 15}};
    const KvSlot to[] = {{2, 0}, {2, 7}, {0, 3}, {1, 15}};
    kv_copy(copied.pages, from, to);
    write(written, {{2, 0}}, 0);
    write(written, {{2, 7}}, 0);
    write(written, {{0, 3}}, 1);
    write(written, {{1, 15}}, 1);
    EXPECT_TRUE(copied == written) << name_of(dtype);
  }
}

FORESIGHT_ON_EVERY_ISA(KvPagesOps);

}  // namespace
}  // namespace foresight::ops
