#include "cache/cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"

namespace foresight {
namespace {

void check_positive(const char* name, std::int64_t number) {
  if (number < 1 || number > std::numeric_limits<std::int32_t>::max()) {
    throw ValueError(concat(name, "=", number, ": expected a number from 1 to 2^31 - 1"));
  }
}

// Checks that `numbers` ascend strictly within [0, end).
void check_ascending(const char* name, std::span<const std::int32_t> numbers, std::int64_t end) {
  std::int64_t previous = -1;
  for (std::int32_t number : numbers) {
    FORESIGHT_CHECK(number > previous && number < end,
                    concat(name, " holds ", number, " after ", previous, ", expected below ", end));
    previous = number;
  }
}

}  // namespace

Cache::Cache(std::int64_t num_pages, std::int64_t page_slots) : page_slots_(page_slots) {
  check_positive("num_pages", num_pages);
  check_positive("page_slots", page_slots);
  reference_counts_.assign(as_index(num_pages), 0);
  free_pages_.reserve(as_index(num_pages));
  for (std::int64_t page = num_pages - 1; page >= 0; --page) {
    free_pages_.push_back(static_cast<std::int32_t>(page));
  }
}

Cache::Handle Cache::create() {
  Handle handle;
  if (free_handles_.empty()) {
    handle = static_cast<Handle>(sequences_.size());
    sequences_.emplace_back();
  } else {
    handle = free_handles_.back();
    free_handles_.pop_back();
  }
  sequences_[as_index(handle)].live = true;
  return handle;
}

Cache::Handle Cache::fork(Handle parent, std::int64_t length) {
  FORESIGHT_CHECK(!at(parent).in_step, concat("fork of sequence ", parent, " during its step"));
  FORESIGHT_CHECK(length >= 0 && length <= at(parent).length,
                  concat("fork at ", length, " of a sequence of ", at(parent).length));
  const Handle child = create();
  const Sequence& from = at(parent);  // after create(), which may move the sequences
  Sequence& to = at(child);
  to.pages.assign(from.pages.begin(), from.pages.begin() + pages_for(length));
  to.length = length;
  for (std::int32_t page : to.pages) share_page(page);
  return child;
}

void Cache::release(Handle handle) {
  Sequence& sequence = at(handle);
  if (sequence.in_step) rollback(handle);
  for (std::int32_t page : sequence.pages) drop_page(page);
  sequence = Sequence{};
  free_handles_.push_back(handle);
}

std::int64_t Cache::length(Handle handle) const { return at(handle).length; }

std::span<const std::int32_t> Cache::pages(Handle handle) const { return at(handle).pages; }

std::int32_t Cache::page_of(Handle handle, std::int64_t slot) const {
  const Sequence& sequence = at(handle);
  FORESIGHT_CHECK(
      slot >= 0 && slot < sequence.length + sequence.reserved,
      concat("slot ", slot, " of a sequence of ", sequence.length, " + ", sequence.reserved));
  return sequence.pages[as_index(slot / page_slots_)];
}

bool Cache::in_step(Handle handle) const { return at(handle).in_step; }

std::int64_t Cache::Demand::total() const {
  return new_pages + (tail_copy ? 1 : 0) + static_cast<std::int64_t>(shadowed.size());
}

Cache::Demand Cache::demand(const Sequence& sequence, std::int64_t count,
                            std::span<const std::int32_t> replaced) const {
  FORESIGHT_CHECK(count >= 0, concat("count=", count));
  check_ascending("replaced", replaced, sequence.length);
  Demand demand;
  demand.new_pages =
      pages_for(sequence.length + count) - static_cast<std::int64_t>(sequence.pages.size());
  const bool writes_tail = count > 0 && sequence.length % page_slots_ != 0;
  demand.tail_copy = writes_tail && is_shared(sequence.pages.back());
  for (std::int32_t slot : replaced) {
    const auto index = static_cast<std::int32_t>(slot / page_slots_);
    if (!is_shared(sequence.pages[as_index(index)])) continue;
    if (demand.tail_copy && index == sequence.length / page_slots_) continue;
    if (demand.shadowed.empty() || demand.shadowed.back() != index) {
      demand.shadowed.push_back(index);
    }
  }
  return demand;
}

std::int64_t Cache::pages_needed(Handle handle, std::int64_t count,
                                 std::span<const std::int32_t> replaced) const {
  FORESIGHT_CHECK(!at(handle).in_step, concat("sequence ", handle, " is in a step"));
  return demand(at(handle), count, replaced).total();
}

bool Cache::reserve(Handle handle, std::int64_t count, std::span<const std::int32_t> replaced,
                    std::vector<SlotCopy>& copies) {
  Sequence& sequence = at(handle);
  FORESIGHT_CHECK(!sequence.in_step, concat("sequence ", handle, " is already in a step"));
  const Demand demand = this->demand(sequence, count, replaced);
  if (demand.total() > num_free_pages()) return false;

  if (demand.tail_copy) {
    sequence.shared_tail = sequence.pages.back();
    sequence.pages.back() = take_page();
    for (std::int32_t slot = 0; slot < slot_in_page(sequence.length); ++slot) {
      copies.push_back({sequence.shared_tail, slot, sequence.pages.back(), slot});
    }
  }
  for (std::int32_t index : demand.shadowed) sequence.shadows.push_back({index, take_page()});
  for (std::int64_t i = 0; i < demand.new_pages; ++i) sequence.pages.push_back(take_page());
  sequence.reserved = count;
  sequence.in_step = true;
  return true;
}

void Cache::commit(Handle handle, std::span<const std::int32_t> kept,
                   std::span<const Replacement> replacements, std::vector<SlotCopy>& copies) {
  Sequence& sequence = at(handle);
  FORESIGHT_CHECK(sequence.in_step, concat("commit of sequence ", handle, " outside a step"));
  check_ascending("kept", kept, sequence.reserved);

  // Replacements first: compaction overwrites rows. Within the compaction a row never moves up, so
  // in ascending order nothing is overwritten before it has been read.
  write_replacements(sequence, replacements, copies);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const std::int64_t to = sequence.length + static_cast<std::int64_t>(i);
    const std::int64_t from = sequence.length + kept[i];
    if (from != to) copies.push_back(copy_between(sequence, from, to));
  }

  const std::int64_t tail = sequence.length / page_slots_;
  const bool tail_is_changed =
      !kept.empty() || std::ranges::any_of(replacements, [&](const Replacement& replacement) {
        return replacement.slot / page_slots_ == tail;
      });
  close_step(sequence, /*put_back_tail=*/!tail_is_changed);
  sequence.length += static_cast<std::int64_t>(kept.size());
  drop_pages_past_length(sequence);
}

void Cache::write_replacements(Sequence& sequence, std::span<const Replacement> replacements,
                               std::vector<SlotCopy>& copies) {
  for (const Replacement& replacement : replacements) {
    FORESIGHT_CHECK(replacement.row >= 0 && replacement.row < sequence.reserved &&
                        replacement.slot >= 0 && replacement.slot < sequence.length,
                    concat("row ", replacement.row, " of ", sequence.reserved, " replaces slot ",
                           replacement.slot, " of ", sequence.length));
    const std::int64_t index = replacement.slot / page_slots_;
    FORESIGHT_CHECK(
        !is_shared(sequence.pages[as_index(index)]) ||
            std::ranges::any_of(sequence.shadows,
                                [&](const Shadow& shadow) { return shadow.index == index; }),
        concat("slot ", replacement.slot, " was not announced to reserve()"));
  }
  for (const Shadow& shadow : sequence.shadows) {
    std::int32_t& page = sequence.pages[as_index(shadow.index)];
    const bool is_replaced = std::ranges::any_of(replacements, [&](const Replacement& replacement) {
      return replacement.slot / page_slots_ == shadow.index;
    });
    if (is_replaced && is_shared(page)) {
      fill_shadow(sequence, shadow, replacements, copies);
      drop_page(page);
      page = shadow.page;
    } else {  // untouched, or by now the last owner's
      drop_page(shadow.page);
    }
  }
  sequence.shadows.clear();
  for (const Replacement& replacement : replacements) {
    copies.push_back(copy_between(sequence, sequence.length + replacement.row, replacement.slot));
  }
}

void Cache::fill_shadow(const Sequence& sequence, const Shadow& shadow,
                        std::span<const Replacement> replacements,
                        std::vector<SlotCopy>& copies) const {
  const std::int64_t first = shadow.index * page_slots_;
  const std::int64_t end = std::min(first + page_slots_, sequence.length);
  std::vector<bool> is_replaced(as_index(page_slots_), false);
  for (const Replacement& replacement : replacements) {
    if (replacement.slot / page_slots_ == shadow.index) {
      is_replaced[as_index(slot_in_page(replacement.slot))] = true;
    }
  }
  const std::int32_t shared = sequence.pages[as_index(shadow.index)];
  for (std::int64_t number = first; number < end; ++number) {
    const std::int32_t slot = slot_in_page(number);
    if (!is_replaced[as_index(slot)]) copies.push_back({shared, slot, shadow.page, slot});
  }
}

SlotCopy Cache::copy_between(const Sequence& sequence, std::int64_t from, std::int64_t to) const {
  return {sequence.pages[as_index(from / page_slots_)], slot_in_page(from),
          sequence.pages[as_index(to / page_slots_)], slot_in_page(to)};
}

void Cache::rollback(Handle handle) {
  Sequence& sequence = at(handle);
  FORESIGHT_CHECK(sequence.in_step, concat("rollback of sequence ", handle, " outside a step"));
  for (const Shadow& shadow : sequence.shadows) drop_page(shadow.page);
  sequence.shadows.clear();
  close_step(sequence, /*put_back_tail=*/true);
  drop_pages_past_length(sequence);
}

void Cache::close_step(Sequence& sequence, bool put_back_tail) {
  if (sequence.shared_tail != kNoPage) {
    if (put_back_tail) {
      std::swap(sequence.pages[as_index(sequence.length / page_slots_)], sequence.shared_tail);
    }
    drop_page(sequence.shared_tail);
    sequence.shared_tail = kNoPage;
  }
  sequence.reserved = 0;
  sequence.in_step = false;
}

void Cache::drop_pages_past_length(Sequence& sequence) {
  const std::size_t wanted = as_index(pages_for(sequence.length));
  while (sequence.pages.size() > wanted) {
    drop_page(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

void Cache::truncate(Handle handle, std::int64_t length) {
  Sequence& sequence = at(handle);
  FORESIGHT_CHECK(!sequence.in_step, concat("truncate of sequence ", handle, " during its step"));
  FORESIGHT_CHECK(length >= 0 && length <= sequence.length,
                  concat("truncate at ", length, " of a sequence of ", sequence.length));
  sequence.length = length;
  drop_pages_past_length(sequence);
}

std::int64_t Cache::num_pages() const {
  return static_cast<std::int64_t>(reference_counts_.size());
}

std::int64_t Cache::num_free_pages() const { return static_cast<std::int64_t>(free_pages_.size()); }

std::int64_t Cache::num_unshared_pages(Handle handle) const {
  const auto& pages = at(handle).pages;
  return std::ranges::count_if(pages, [&](std::int32_t page) { return !is_shared(page); });
}

std::int64_t Cache::num_sequences() const {
  return static_cast<std::int64_t>(sequences_.size() - free_handles_.size());
}

Cache::Sequence& Cache::at(Handle handle) {
  return const_cast<Sequence&>(std::as_const(*this).at(handle));
}

const Cache::Sequence& Cache::at(Handle handle) const {
  FORESIGHT_CHECK(
      handle >= 0 && as_index(handle) < sequences_.size() && sequences_[as_index(handle)].live,
      concat("no sequence has the handle ", handle));
  return sequences_[as_index(handle)];
}

std::int32_t Cache::take_page() {
  const std::int32_t page = free_pages_.back();
  free_pages_.pop_back();
  reference_counts_[as_index(page)] = 1;
  return page;
}

void Cache::drop_page(std::int32_t page) {
  std::int32_t& count = reference_counts_[as_index(page)];
  FORESIGHT_CHECK(count > 0, concat("page ", page, " is given back twice"));
  if (--count == 0) free_pages_.push_back(page);
}

}  // namespace foresight
