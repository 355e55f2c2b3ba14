// The K/V of a drafter's own model, per branch: a copy of work that can be done again. It follows a
// branch by its tokens, so a fork, a truncation or a preemption of the branch needs no word of it,
// and when pages run out branches that are not asked about now lose theirs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "engine/draft_pages.h"
#include "model/port.h"
#include "rows/rows.h"

namespace foresight {

class DraftCache {
 public:
  struct Entry {
    Cache::Handle handle = Cache::kNoHandle;
    std::vector<Token> tokens;  // of the drafter's vocabulary, whose K/V the slots hold
    std::uint64_t request = 0;
    std::uint64_t last_use = 0;  // number of the call
  };

  DraftCache(ModelPort& model, std::int64_t num_pages) : pages_(model, num_pages) {}

  void begin() { pages_.begin(); }
  // The branch's entry, cut to what it shares with the first `limit` of `tokens`; a branch that is
  // not known takes over what another one of its request has of them.
  Entry& find(std::uint64_t branch, std::uint64_t request, std::span<const Token> tokens,
              std::int64_t limit);
  // Opens slots for `count` rows behind an entry's. False: there are no pages to be had.
  bool reserve(Entry& entry, std::int64_t count) { return pages_.reserve(entry, count); }
  // Keeps the first rows of the open step, those of `tokens`, and drops the others.
  void keep(Entry& entry, std::span<const Token> tokens);
  void forget(std::uint64_t branch) { pages_.forget(branch); }

  std::span<const std::int32_t> pages(const Entry& entry) const { return pages_.of(entry); }

 private:
  DraftPages<Entry> pages_;
};

}  // namespace foresight
