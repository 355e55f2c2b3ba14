// The K/V of a drafter's own model, per branch: a copy of work that can be done again. It follows a
// branch by its tokens, so a fork, a truncation or a preemption of the branch needs no word of it,
// and when pages run out branches that are not asked about now lose theirs.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "cache/cache.h"
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

  DraftCache(ModelPort& model, std::int64_t num_pages);

  // Begins a call: entries that are found or made from now on are not given up in it.
  // A step that an error has left open is undone.
  void begin();
  // The branch's entry, cut to what it shares with the first `limit` of `tokens`; a branch that is
  // not known takes over what another one of its request has of them.
  Entry& find(std::uint64_t branch, std::uint64_t request, std::span<const Token> tokens,
              std::int64_t limit);
  // Opens slots for `count` rows behind an entry's. False: there are no pages to be had.
  bool reserve(Entry& entry, std::int64_t count);
  // Keeps the first rows of the open step, those of `tokens`, and drops the others.
  void keep(Entry& entry, std::span<const Token> tokens);
  void forget(std::uint64_t branch);

  std::span<const std::int32_t> pages(const Entry& entry) const {
    return cache_.pages(entry.handle);
  }

 private:
  // Takes the pages of the entry that was used longest ago, before this call.
  bool give_up_one();

  ModelPort& model_;
  Cache cache_;
  std::map<std::uint64_t, Entry> entries_;  // by branch
  std::vector<SlotCopy> copies_;
  std::uint64_t call_ = 0;
};

}  // namespace foresight
