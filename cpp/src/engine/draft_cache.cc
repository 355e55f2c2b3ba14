#include "engine/draft_cache.h"

#include <algorithm>

namespace foresight {

namespace {

std::int64_t common_length(std::span<const Token> a, std::span<const Token> b) {
  const auto size = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(size), b.begin()).first -
         a.begin();
}

}  // namespace

DraftCache::DraftCache(ModelPort& model, std::int64_t num_pages)
    : model_(model), cache_(num_pages, model.page_slots()) {
  model_.allocate_pages(num_pages);
}

void DraftCache::begin() {
  ++call_;
  for (auto& [branch, entry] : entries_) {
    if (cache_.in_step(entry.handle)) cache_.rollback(entry.handle);
  }
}

DraftCache::Entry& DraftCache::find(std::uint64_t branch, std::uint64_t request,
                                    std::span<const Token> tokens, std::int64_t limit) {
  const auto context = tokens.first(static_cast<std::size_t>(limit));
  auto found = entries_.find(branch);
  if (found == entries_.end()) {
    const Entry* best = nullptr;
    std::int64_t shared = 0;
    for (const auto& [other_branch, other] : entries_) {
      if (other.request != request) continue;
      const std::int64_t length = common_length(other.tokens, context);
      if (length <= shared) continue;
      best = &other;
      shared = length;
    }
    Entry entry{.request = request};
    if (best != nullptr) {
      entry.handle = cache_.fork(best->handle, shared);
      entry.tokens.assign(best->tokens.begin(), best->tokens.begin() + shared);
    } else {
      entry.handle = cache_.create();
    }
    found = entries_.emplace(branch, std::move(entry)).first;
  }
  Entry& entry = found->second;
  entry.last_use = call_;
  const std::int64_t kept = common_length(entry.tokens, context);
  if (kept < std::ssize(entry.tokens)) {
    cache_.truncate(entry.handle, kept);
    entry.tokens.resize(static_cast<std::size_t>(kept));
  }
  return entry;
}

bool DraftCache::reserve(Entry& entry, std::int64_t count) {
  copies_.clear();
  while (!cache_.reserve(entry.handle, count, {}, copies_)) {
    if (!give_up_one()) return false;
  }
  model_.copy_slots(copies_);
  return true;
}

void DraftCache::keep(Entry& entry, std::span<const Token> tokens) {
  if (tokens.empty()) {
    cache_.rollback(entry.handle);
    return;
  }
  std::vector<std::int32_t> kept;
  for (std::size_t i = 0; i < tokens.size(); ++i) kept.push_back(static_cast<std::int32_t>(i));
  copies_.clear();
  cache_.commit(entry.handle, kept, {}, copies_);
  model_.copy_slots(copies_);
  entry.tokens.insert(entry.tokens.end(), tokens.begin(), tokens.end());
}

void DraftCache::forget(std::uint64_t branch) {
  const auto found = entries_.find(branch);
  if (found == entries_.end()) return;
  cache_.release(found->second.handle);
  entries_.erase(found);
}

bool DraftCache::give_up_one() {
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
