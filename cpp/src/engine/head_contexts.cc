#include "engine/head_contexts.h"

#include <algorithm>

#include "core/error.h"
#include "decode/drafters/common_prefix.h"

namespace foresight {

namespace {

// Features that are kept after they have been cached: a fork or a truncation differs from its
// branch in the last few tokens, and needs their features again.
constexpr std::size_t kSpareFeatures = 16;

// Index of the first position that is at least `position`.
std::size_t index_of(std::span<const std::int32_t> positions, std::int64_t position) {
  return static_cast<std::size_t>(std::lower_bound(positions.begin(), positions.end(), position) -
                                  positions.begin());
}

}  // namespace

std::size_t HeadContexts::Entry::first_waiting() const {
  return positions.empty() ? 0 : index_of(feature_positions, positions.back() + 1);
}

HeadContexts::HeadContexts(ModelPort& model, std::int64_t num_pages, std::int64_t look_ahead)
    : pages_(model, num_pages),
      look_ahead_(look_ahead),
      feature_size_(static_cast<std::size_t>(model.config().hidden_size)) {}

void HeadContexts::begin() {
  pages_.begin();
  for (auto& [branch, entry] : pages_.entries()) drop_guesses(entry);
}

const HeadContexts::Entry* HeadContexts::best_donor(std::span<const Token> tokens) const {
  const Entry* best = nullptr;
  std::size_t most = 0;
  for (const auto& [branch, entry] : pages_.entries()) {
    const std::size_t shared = common_prefix(entry.tokens, tokens);
    const bool has_any = !entry.positions.empty() || !entry.feature_positions.empty();
    if (!has_any || shared <= most) continue;
    best = &entry;
    most = shared;
  }
  return best;
}

HeadContexts::Entry& HeadContexts::find(std::uint64_t branch, std::span<const Token> tokens) {
  Entry* entry = pages_.find(branch);
  if (entry == nullptr) {
    const Entry* donor = best_donor(tokens);
    const std::int64_t num_slots = donor == nullptr ? 0 : std::ssize(donor->positions);
    entry = &pages_.insert(branch, donor == nullptr ? Entry() : *donor, donor, num_slots);
  }
  const auto shared = static_cast<std::ptrdiff_t>(common_prefix(entry->tokens, tokens));
  if (shared < std::ssize(entry->tokens)) trim(*entry, shared);
  entry->tokens.resize(static_cast<std::size_t>(shared));
  entry->tokens.insert(entry->tokens.end(), tokens.begin() + shared, tokens.end());
  return *entry;
}

void HeadContexts::trim(Entry& entry, std::int64_t length) {
  drop_guesses(entry);
  const std::size_t slots = index_of(entry.positions, length - look_ahead_);
  if (slots < entry.positions.size()) {
    entry.positions.resize(slots);
    pages_.truncate(entry, static_cast<std::int64_t>(slots));
  }
  const std::size_t kept = index_of(entry.feature_positions, length);
  entry.feature_positions.resize(kept);
  entry.features.resize(kept * feature_size_);
}

void HeadContexts::drop_guesses(Entry& entry) {
  if (entry.num_guesses == 0) return;
  entry.positions.resize(entry.positions.size() - static_cast<std::size_t>(entry.num_guesses));
  entry.num_guesses = 0;
  pages_.truncate(entry, std::ssize(entry.positions));
}

void HeadContexts::add(Entry& entry, std::int64_t first, std::int64_t count,
                       const float* features) {
  std::int64_t known = -1;
  if (!entry.positions.empty()) known = entry.positions.back();
  if (!entry.feature_positions.empty())
    known = std::max<std::int64_t>(known, entry.feature_positions.back());
  const std::int64_t skipped = std::clamp<std::int64_t>(known + 1 - first, 0, count);
  for (std::int64_t i = skipped; i < count; ++i)
    entry.feature_positions.push_back(static_cast<std::int32_t>(first + i));
  const auto size = static_cast<std::int64_t>(feature_size_);
  entry.features.insert(entry.features.end(), features + skipped * size, features + count * size);
}

void HeadContexts::keep_features(Entry& entry, std::int64_t count) {
  FORESIGHT_CHECK(entry.num_guesses == 0, "features are cached before guesses");
  FORESIGHT_CHECK(count <= entry.num_waiting(),
                  concat(count, " features to cache of ", entry.num_waiting(), " that wait"));
  pages_.keep(entry, count);
  const auto first =
      entry.feature_positions.begin() + static_cast<std::ptrdiff_t>(entry.first_waiting());
  entry.positions.insert(entry.positions.end(), first, first + count);
  const std::size_t cached = entry.first_waiting();
  if (cached <= 2 * kSpareFeatures) return;  // many at once, so that it costs little
  const std::size_t gone = cached - kSpareFeatures;
  entry.feature_positions.erase(
      entry.feature_positions.begin(),
      entry.feature_positions.begin() + static_cast<std::ptrdiff_t>(gone));
  entry.features.erase(entry.features.begin(),
                       entry.features.begin() + static_cast<std::ptrdiff_t>(gone * feature_size_));
}

void HeadContexts::keep_guess(Entry& entry, std::int64_t position) {
  pages_.keep(entry, 1);
  entry.positions.push_back(static_cast<std::int32_t>(position));
  ++entry.num_guesses;
}

}  // namespace foresight
