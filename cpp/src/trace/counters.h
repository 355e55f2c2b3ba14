// What a call, a branch or a sequence has cost so far.
#pragma once

#include <algorithm>
#include <cstdint>

namespace foresight {

struct Counters {
  std::int64_t forwards = 0;          // target forwards with at least one of its rows
  std::int64_t rows = 0;              // target rows computed
  std::int64_t generated_tokens = 0;  // new tokens
  std::int64_t draft_forwards = 0;
  std::int64_t drafted_tokens = 0;
  std::int64_t accepted_tokens = 0;  // of the drafted ones
  std::int64_t latent_rows = 0;      // mask rows that could not be decided in their forward
  std::int64_t candidate_rows = 0;   // mask rows that could have been, but were not
  std::int64_t probe_tokens = 0;
  std::int64_t recomputed_rows = 0;  // rows computed again after preemption
  std::int64_t peak_cache_pages = 0;

  // Adds everything up, but takes the higher of the two peaks: they need not have come together.
  // Note that branches share forwards, so a sum over branches may exceed the call's own count.
  Counters& operator+=(const Counters& other) {
    forwards += other.forwards;
    rows += other.rows;
    generated_tokens += other.generated_tokens;
    draft_forwards += other.draft_forwards;
    drafted_tokens += other.drafted_tokens;
    accepted_tokens += other.accepted_tokens;
    latent_rows += other.latent_rows;
    candidate_rows += other.candidate_rows;
    probe_tokens += other.probe_tokens;
    recomputed_rows += other.recomputed_rows;
    peak_cache_pages = std::max(peak_cache_pages, other.peak_cache_pages);
    return *this;
  }
  bool operator==(const Counters&) const = default;
};

}  // namespace foresight
