#include "engine/draft_cache.h"

#include "decode/drafters/common_prefix.h"

namespace foresight {

DraftCache::Entry& DraftCache::find(std::uint64_t branch, std::uint64_t request,
                                    std::span<const Token> tokens, std::int64_t limit) {
  const auto context = tokens.first(static_cast<std::size_t>(limit));
  Entry* entry = pages_.find(branch);
  if (entry == nullptr) {
    const Entry* donor = nullptr;
    std::size_t shared = 0;
    for (const auto& [other_branch, other] : pages_.entries()) {
      if (other.request != request) continue;
      const std::size_t length = common_prefix(other.tokens, context);
      if (length <= shared) continue;
      donor = &other;
      shared = length;
    }
    Entry fresh{.request = request};
    if (donor != nullptr) {
      fresh.tokens.assign(donor->tokens.begin(),
                          donor->tokens.begin() + static_cast<std::ptrdiff_t>(shared));
    }
    entry = &pages_.insert(branch, std::move(fresh), donor, static_cast<std::int64_t>(shared));
  }
  const std::size_t kept = common_prefix(entry->tokens, context);
  if (kept < entry->tokens.size()) {
    pages_.truncate(*entry, static_cast<std::int64_t>(kept));
    entry->tokens.resize(kept);
  }
  return *entry;
}

void DraftCache::keep(Entry& entry, std::span<const Token> tokens) {
  if (tokens.empty()) {
    pages_.drop(entry);
    return;
  }
  pages_.keep(entry, std::ssize(tokens));
  entry.tokens.insert(entry.tokens.end(), tokens.begin(), tokens.end());
}

}  // namespace foresight
