// The cache is index arithmetic: pages, reference counts, slots. It never sees a byte of K/V: where
// bytes must move it says so in SlotCopy lists, which the model port carries out.
//
// A sequence is a list of pages with a length. fork() shares pages; the first write into a shared
// page gives the writer its own copy. A step is a transaction per sequence: reserve() opens it,
// commit() or rollback() closes it; a truncate or fork in between is a broken invariant.
//
// Nothing is ever written into a page with more than one reference, so a page that a sequence owns
// alone cannot become shared during its step. Every broken precondition throws InternalError.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace foresight {

// Copy one row of K/V, all layers. Lists are carried out in order, before any later forward: a copy
// may read a page that has been given back since, and one copy may read what another has written.
struct SlotCopy {
  std::int32_t from_page = 0;
  std::int32_t from_slot = 0;
  std::int32_t to_page = 0;
  std::int32_t to_slot = 0;
  bool operator==(const SlotCopy&) const = default;
};

class Cache {
 public:
  using Handle = std::int32_t;
  static constexpr Handle kNoHandle = -1;

  // Throws ValueError unless both are positive and below 2^31.
  Cache(std::int64_t num_pages, std::int64_t page_slots);
  ~Cache() = default;
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // An empty sequence; needs no page.
  Handle create();
  // A sequence holding the first `length` slots of `parent` (its committed ones), sharing its
  // pages. Throws InternalError when length exceeds the parent's, or a step is open.
  Handle fork(Handle parent, std::int64_t length);
  // Gives back the sequence and its pages; an open step is rolled back first.
  void release(Handle handle);

  std::int64_t length(Handle handle) const;                  // committed slots
  std::span<const std::int32_t> pages(Handle handle) const;  // covers length + reserved slots
  // Page and slot inside it of slot number `slot` of the sequence.
  std::int32_t page_of(Handle handle, std::int64_t slot) const;
  std::int32_t slot_in_page(std::int64_t slot) const {
    return static_cast<std::int32_t>(slot % page_slots_);
  }

  // Opens a step: `count` slots after the committed ones, one per row, and room for own copies of
  // the shared pages that the ascending list `replaced` of committed slots touches. Replaced slots
  // keep their content until commit. Copies to carry out before the forward are appended to
  // `copies`. Returns false, having changed nothing, when there are not enough free pages.
  [[nodiscard]] bool reserve(Handle handle, std::int64_t count,
                             std::span<const std::int32_t> replaced, std::vector<SlotCopy>& copies);
  // Pages that reserve() would take.
  std::int64_t pages_needed(Handle handle, std::int64_t count,
                            std::span<const std::int32_t> replaced) const;

  // Closes the step; it cannot run out of pages. `kept` lists indices (ascending) of the reserved
  // rows that stay, in order, as slots length, length + 1, ...; `replacements` lists (reserved row,
  // committed slot it replaces), slots that reserve() was told of; named twice, a slot takes the
  // later row. Copies to carry out after the forward are appended to `copies`; pages no longer
  // needed are freed.
  struct Replacement {
    std::int32_t row = 0;
    std::int32_t slot = 0;
  };
  void commit(Handle handle, std::span<const std::int32_t> kept,
              std::span<const Replacement> replacements, std::vector<SlotCopy>& copies);
  // Closes the step as if it had not been opened.
  void rollback(Handle handle);
  bool in_step(Handle handle) const;

  // Drops committed slots from `length` on.
  void truncate(Handle handle, std::int64_t length);

  std::int64_t num_pages() const;
  std::int64_t page_slots() const { return page_slots_; }
  std::int64_t num_free_pages() const;
  // Pages of the sequence that nobody else has: what release() would give back.
  std::int64_t num_unshared_pages(Handle handle) const;
  std::int64_t num_used_pages() const { return num_pages() - num_free_pages(); }
  std::int64_t num_sequences() const;
  // Throws InternalError when reference counts, free list and sequences disagree (a leak, a double
  // use): a pure function over the whole state, called by tests and at teardown.
  void check_integrity() const;

 private:
  static constexpr std::int32_t kNoPage = -1;

  // A page set aside for the step, to become page number `index` of the sequence at commit.
  struct Shadow {
    std::int32_t index = 0;
    std::int32_t page = kNoPage;
  };
  struct Sequence {
    std::vector<std::int32_t> pages;
    std::int64_t length = 0;
    std::int64_t reserved = 0;
    bool live = false;
    bool in_step = false;
    // For replaced slots of shared pages; filled at commit.
    std::vector<Shadow> shadows;
    // The shared page of which the step's tail page, the one that holds slot number `length`, is an
    // own copy: put back if the step leaves no trace in it. The sequence keeps its reference.
    std::int32_t shared_tail = kNoPage;
  };
  // What reserve() would have to take.
  struct Demand {
    std::int64_t new_pages = 0;
    bool tail_copy = false;
    std::vector<std::int32_t> shadowed;  // indices into Sequence::pages
    std::int64_t total() const;
  };

  Sequence& at(Handle handle);
  const Sequence& at(Handle handle) const;
  Demand demand(const Sequence& sequence, std::int64_t count,
                std::span<const std::int32_t> replaced) const;
  // Writes rows into the slots they replace, in pages of the sequence's own: fills the shadows that
  // are still needed and gives back the others.
  void write_replacements(Sequence& sequence, std::span<const Replacement> replacements,
                          std::vector<SlotCopy>& copies);
  void fill_shadow(const Sequence& sequence, const Shadow& shadow,
                   std::span<const Replacement> replacements, std::vector<SlotCopy>& copies) const;
  // Ends the step with the sequence's present length and drops the pages past it.
  void close_step(Sequence& sequence, bool put_back_tail);
  void drop_pages_past_length(Sequence& sequence);

  std::int64_t pages_for(std::int64_t slots) const {
    return (slots + page_slots_ - 1) / page_slots_;
  }
  SlotCopy copy_between(const Sequence& sequence, std::int64_t from, std::int64_t to) const;
  static std::size_t as_index(std::int64_t number) { return static_cast<std::size_t>(number); }
  bool is_shared(std::int32_t page) const { return reference_counts_[as_index(page)] > 1; }
  std::int32_t take_page();
  void share_page(std::int32_t page) { ++reference_counts_[as_index(page)]; }
  void drop_page(std::int32_t page);

  std::int64_t page_slots_;
  std::vector<std::int32_t> reference_counts_;  // per page; 0: free
  std::vector<std::int32_t> free_pages_;        // a stack, lowest id on top at the start
  std::vector<Sequence> sequences_;
  std::vector<Handle> free_handles_;
};

}  // namespace foresight
