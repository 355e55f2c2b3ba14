#include "engine/head_contexts.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace foresight {

namespace {

// Features that are kept after they have been cached: a fork or a truncation differs from its
// branch in the last few tokens, and needs their features again.
constexpr std::size_t kSpareFeatures = 16;

std::int64_t common_length(std::span<const Token> a, std::span<const Token> b) {
  const auto size = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(size), b.begin()).first -
         a.begin();
}

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
    : model_(model),
      cache_(num_pages, model.page_slots()),
      look_ahead_(look_ahead),
      feature_size_(static_cast<std::size_t>(model.config().hidden_size)) {
  model_.allocate_pages(num_pages);
}

void HeadContexts::begin() {
  ++call_;
  for (auto& [branch, entry] : entries_) {
    if (cache_.in_step(entry.handle)) cache_.rollback(entry.handle);
    drop_guesses(entry);
  }
}

const HeadContexts::Entry* HeadContexts::best_donor(std::span<const Token> tokens) const {
  const Entry* best = nullptr;
  std::int64_t most = 0;
  for (const auto& [branch, entry] : entries_) {
    const std::int64_t shared = common_length(entry.tokens, tokens);
    const bool has_any = !entry.positions.empty() || !entry.feature_positions.empty();
    if (!has_any || shared <= most) continue;
    best = &entry;
    most = shared;
  }
  return best;
}

HeadContexts::Entry& HeadContexts::find(std::uint64_t branch, std::span<const Token> tokens) {
  auto found = entries_.find(branch);
  if (found == entries_.end()) {
    const Entry* donor = best_donor(tokens);
    Entry entry;
    if (donor != nullptr) {
      entry = *donor;
      entry.handle = cache_.fork(donor->handle, std::ssize(donor->positions));
    } else {
      entry.handle = cache_.create();
    }
    found = entries_.emplace(branch, std::move(entry)).first;
  }
  Entry& entry = found->second;
  entry.last_use = call_;
  const std::int64_t shared = common_length(entry.tokens, tokens);
  if (shared < std::ssize(entry.tokens)) trim(entry, shared);
  entry.tokens.resize(static_cast<std::size_t>(shared));
  entry.tokens.insert(entry.tokens.end(), tokens.begin() + shared, tokens.end());
  return entry;
}

void HeadContexts::trim(Entry& entry, std::int64_t length) {
  drop_guesses(entry);
  const std::size_t slots = index_of(entry.positions, length - look_ahead_);
  if (slots < entry.positions.size()) {
    entry.positions.resize(slots);
    cache_.truncate(entry.handle, static_cast<std::int64_t>(slots));
  }
  const std::size_t kept = index_of(entry.feature_positions, length);
  entry.feature_positions.resize(kept);
  entry.features.resize(kept * feature_size_);
}

void HeadContexts::drop_guesses(Entry& entry) {
  if (entry.num_guesses == 0) return;
  entry.positions.resize(entry.positions.size() - static_cast<std::size_t>(entry.num_guesses));
  entry.num_guesses = 0;
  cache_.truncate(entry.handle, std::ssize(entry.positions));
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

bool HeadContexts::reserve(Entry& entry, std::int64_t count) {
  copies_.clear();
  while (!cache_.reserve(entry.handle, count, {}, copies_)) {
    if (!give_up_one()) return false;
  }
  model_.copy_slots(copies_);
  return true;
}

void HeadContexts::keep(Entry& entry, std::int64_t count) {
  std::vector<std::int32_t> kept(static_cast<std::size_t>(count));
  std::iota(kept.begin(), kept.end(), 0);
  copies_.clear();
  cache_.commit(entry.handle, kept, {}, copies_);
  model_.copy_slots(copies_);
}

void HeadContexts::keep_features(Entry& entry, std::int64_t count) {
  FORESIGHT_CHECK(entry.num_guesses == 0, "features are cached before guesses");
  FORESIGHT_CHECK(count <= std::ssize(entry.feature_positions) -
                               static_cast<std::int64_t>(entry.first_waiting()),
                  "only features that wait are cached");
  keep(entry, count);
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
  keep(entry, 1);
  entry.positions.push_back(static_cast<std::int32_t>(position));
  ++entry.num_guesses;
}

void HeadContexts::forget(std::uint64_t branch) {
  const auto found = entries_.find(branch);
  if (found == entries_.end()) return;
  cache_.release(found->second.handle);
  entries_.erase(found);
}

bool HeadContexts::give_up_one() {
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->second.last_use == call_) continue;
    if (oldest == entries_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
  }
  if (oldest == entries_.end()) return false;
  cache_.release(oldest->second.handle);
  entries_.erase(oldest);
  return true;
}

}  // namespace foresight
