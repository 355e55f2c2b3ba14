#include <vector>

#include "cache/cache.h"
#include "core/error.h"

namespace foresight {

void Cache::check_integrity() const {
  std::vector<std::int32_t> counted(reference_counts_.size(), 0);
  const auto count_page = [&](std::int32_t page) {
    FORESIGHT_CHECK(page >= 0 && page < num_pages(), concat("page ", page, " does not exist"));
    ++counted[as_index(page)];
  };
  std::int64_t live = 0;
  for (const Sequence& sequence : sequences_) {
    const std::int64_t slots = sequence.length + sequence.reserved;
    FORESIGHT_CHECK(static_cast<std::int64_t>(sequence.pages.size()) == pages_for(slots),
                    concat(sequence.pages.size(), " pages for ", slots, " slots"));
    FORESIGHT_CHECK(sequence.live || sequence.pages.empty(), "a released sequence has pages");
    FORESIGHT_CHECK(sequence.in_step || (sequence.reserved == 0 && sequence.shadows.empty() &&
                                         sequence.shared_tail == kNoPage),
                    "a sequence outside a step holds what belongs to one");
    if (sequence.live) ++live;
    for (std::int32_t page : sequence.pages) count_page(page);
    for (const Shadow& shadow : sequence.shadows) count_page(shadow.page);
    if (sequence.shared_tail != kNoPage) count_page(sequence.shared_tail);
  }
  FORESIGHT_CHECK(live == num_sequences(), concat(live, " live sequences, ", num_sequences(),
                                                  " by the count of free handles"));
  std::vector<bool> is_free(reference_counts_.size(), false);
  for (std::int32_t page : free_pages_) {
    FORESIGHT_CHECK(!is_free[as_index(page)], concat("page ", page, " is free twice"));
    is_free[as_index(page)] = true;
  }
  for (std::size_t page = 0; page < counted.size(); ++page) {
    FORESIGHT_CHECK(counted[page] == reference_counts_[page],
                    concat("page ", page, " has ", counted[page], " references, not ",
                           reference_counts_[page]));
    FORESIGHT_CHECK(is_free[page] == (counted[page] == 0),
                    concat("page ", page, " has ", counted[page], " references, and is ",
                           is_free[page] ? "" : "not ", "in the list of free pages"));
  }
  // Rows are only ever written into pages with one owner.
  for (const Sequence& sequence : sequences_) {
    for (std::int64_t row = 0; row < sequence.reserved; ++row) {
      const std::int32_t page = sequence.pages[as_index((sequence.length + row) / page_slots_)];
      FORESIGHT_CHECK(!is_shared(page), concat("reserved rows lie in shared page ", page));
    }
  }
}

}  // namespace foresight
