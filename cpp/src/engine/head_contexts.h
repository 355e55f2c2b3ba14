// What a draft head knows of each branch: the features of its positions that are not cached yet,
// and K/V of those that are. It follows a branch by its tokens, as DraftCache does. Positions whose
// features nobody has shown, or that were given up, are simply not there: slots have positions of
// their own, and the head sees what is left.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "engine/draft_pages.h"
#include "model/port.h"
#include "rows/rows.h"

namespace foresight {

class HeadContexts {
 public:
  struct Entry {
    Cache::Handle handle = Cache::kNoHandle;
    std::vector<Token> tokens;            // that everything here was computed behind
    std::vector<std::int32_t> positions;  // of the slots, ascending, guesses last
    std::vector<std::int32_t>
        feature_positions;         // ascending; those up to the last slot's are spare
    std::vector<float> features;   // [feature_positions, feature size]
    std::int64_t num_guesses = 0;  // last slots, which are not of the branch
    std::uint64_t last_use = 0;    // number of the call

    // Index of the first feature that is not cached, where there are no guesses.
    std::size_t first_waiting() const;
    std::int64_t num_waiting() const {
      return static_cast<std::int64_t>(feature_positions.size() - first_waiting());
    }
  };

  // look_ahead: how many tokens behind its own a slot depends on (0 or 1).
  HeadContexts(ModelPort& model, std::int64_t num_pages, std::int64_t look_ahead);

  // Begins a call, as DraftPages does; guesses that an error has left behind are dropped.
  void begin();
  // The branch's entry, cut to what it shares with `tokens`. A branch that is not known takes over
  // what another one has of them.
  Entry& find(std::uint64_t branch, std::span<const Token> tokens);
  // Features [count, feature size] of positions from `first` on; those that are known are skipped.
  void add(Entry& entry, std::int64_t first, std::int64_t count, const float* features);

  // Opens slots for `count` rows. False: there are no pages to be had.
  bool reserve(Entry& entry, std::int64_t count) { return pages_.reserve(entry, count); }
  // Keeps the open slots: of the first waiting features, or of a guess.
  void keep_features(Entry& entry, std::int64_t count);
  void keep_guess(Entry& entry, std::int64_t position);
  // Keeps none of them.
  void drop(Entry& entry) { pages_.drop(entry); }
  void drop_guesses(Entry& entry);
  // Cuts an entry to what depends on the first `length` tokens only. Features of slots that are
  // gone wait again, where they are spare.
  void trim(Entry& entry, std::int64_t length);
  void forget(std::uint64_t branch) { pages_.forget(branch); }

  std::span<const std::int32_t> pages(const Entry& entry) const { return pages_.of(entry); }

 private:
  const Entry* best_donor(std::span<const Token> tokens) const;

  DraftPages<Entry> pages_;
  std::int64_t look_ahead_;
  std::size_t feature_size_;
};

}  // namespace foresight
