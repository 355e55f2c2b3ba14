// The pages of a drafter's own model, shared out among branches. Entry, what the drafter knows of a
// branch, has a `handle` and a `last_use`. When pages run out, branches that are not asked about in
// the present call lose their entries: all of it can be computed again.
#pragma once

#include <cstdint>
#include <map>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "cache/cache.h"
#include "model/port.h"

namespace foresight {

template <typename Entry>
class DraftPages {
 public:
  DraftPages(ModelPort& model, std::int64_t num_pages)
      : model_(model), cache_(num_pages, model.page_slots()) {
    model_.allocate_pages(num_pages);
  }

  // Begins a call: entries that are found or made from now on are not given up in it. Steps that an
  // error has left open are undone.
  void begin() {
    ++call_;
    for (auto& [branch, entry] : entries_) {
      if (cache_.in_step(entry.handle)) cache_.rollback(entry.handle);
    }
  }

  // The branch's entry, or null.
  Entry* find(std::uint64_t branch) {
    const auto found = entries_.find(branch);
    if (found == entries_.end()) return nullptr;
    found->second.last_use = call_;
    return &found->second;
  }
  // A new one, with slots of its own: the first `num_shared` of `donor`, if there is one.
  Entry& insert(std::uint64_t branch, Entry entry, const Entry* donor, std::int64_t num_shared) {
    entry.handle = donor == nullptr ? cache_.create() : cache_.fork(donor->handle, num_shared);
    entry.last_use = call_;
    return entries_.emplace(branch, std::move(entry)).first->second;
  }
  std::map<std::uint64_t, Entry>& entries() { return entries_; }  // by branch
  const std::map<std::uint64_t, Entry>& entries() const { return entries_; }

  // Opens slots for `count` rows behind an entry's. False: there are no pages to be had.
  bool reserve(Entry& entry, std::int64_t count) {
    copies_.clear();
    while (!cache_.reserve(entry.handle, count, {}, copies_)) {
      if (!give_up_one()) return false;
    }
    model_.copy_slots(copies_);
    return true;
  }
  // Keeps the first `count` rows of the open step and drops the others.
  void keep(Entry& entry, std::int64_t count) {
    std::vector<std::int32_t> kept(static_cast<std::size_t>(count));
    std::iota(kept.begin(), kept.end(), 0);
    copies_.clear();
    cache_.commit(entry.handle, kept, {}, copies_);
    model_.copy_slots(copies_);
  }
  void drop(Entry& entry) { cache_.rollback(entry.handle); }
  void truncate(Entry& entry, std::int64_t length) { cache_.truncate(entry.handle, length); }
  void forget(std::uint64_t branch) {
    const auto found = entries_.find(branch);
    if (found != entries_.end()) erase(found);
  }

  std::span<const std::int32_t> of(const Entry& entry) const { return cache_.pages(entry.handle); }

 private:
  using Place = typename std::map<std::uint64_t, Entry>::iterator;

  void erase(Place place) {
    cache_.release(place->second.handle);
    entries_.erase(place);
  }
  // Takes the pages of the entry that was used longest ago, before this call.
  bool give_up_one() {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->second.last_use == call_) continue;
      if (oldest == entries_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
    }
    if (oldest == entries_.end()) return false;
    erase(oldest);
    return true;
  }

  ModelPort& model_;
  Cache cache_;
  std::map<std::uint64_t, Entry> entries_;
  std::vector<SlotCopy> copies_;
  std::uint64_t call_ = 0;
};

}  // namespace foresight
