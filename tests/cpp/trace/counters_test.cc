#include "trace/counters.h"

#include <gtest/gtest.h>

namespace foresight {
namespace {

TEST(Counters, AddUpButForThePeak) {
  Counters sum{.forwards = 1,
               .rows = 2,
               .generated_tokens = 3,
               .draft_forwards = 4,
               .drafted_tokens = 5,
               .accepted_tokens = 6,
               .latent_rows = 7,
               .candidate_rows = 8,
               .probe_tokens = 9,
               .recomputed_rows = 10,
               .peak_cache_pages = 11};
  const Counters once = sum;
  sum += once;
  EXPECT_EQ(sum, (Counters{.forwards = 2,
                           .rows = 4,
                           .generated_tokens = 6,
                           .draft_forwards = 8,
                           .drafted_tokens = 10,
                           .accepted_tokens = 12,
                           .latent_rows = 14,
                           .candidate_rows = 16,
                           .probe_tokens = 18,
                           .recomputed_rows = 20,
                           .peak_cache_pages = 11}));
  // A new counter must be added to operator+= and to this test.
  static_assert(sizeof(Counters) == 11 * sizeof(std::int64_t));
}

}  // namespace
}  // namespace foresight
