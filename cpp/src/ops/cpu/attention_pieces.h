// What a query sees of one chunk, as pieces of pages.
#pragma once

#include "ops/attention.h"
#include "ops/cpu/vec.h"

namespace foresight::ops::FORESIGHT_ISA_NS {
namespace {

// Consecutive ordinals in consecutive slots of one page.
template <typename Element>
struct Piece {
  const Element* keys;    // of the page and K/V head
  const Element* values;  // likewise
  std::int32_t slot;
  std::int32_t count;
  std::int32_t ordinal;  // in the chunk
};

// At most one piece per ordinal.
template <typename Element>
struct Pieces {
  Piece<Element> items[kAttentionChunk];
  std::int64_t size;
};

// Moves query `index` on by up to kAttentionChunk ordinals; returns how many.
template <typename Element>
std::int64_t take_chunk(const AttentionTile& tile, std::int64_t index, Pieces<Element>& pieces) {
  const AttentionQuery& query = tile.queries[index];
  SlotRun& cursor = tile.work.cursors[index];
  const std::int64_t head_elements = tile.pages.head_dim * kPageSlots;
  std::int64_t ordinal = 0;
  pieces.size = 0;
  while (cursor.begin < query.num_runs && ordinal < kAttentionChunk) {
    const SlotRun run = tile.runs[query.first_run + cursor.begin];
    const std::int32_t slot = run.begin + cursor.end;
    const std::int64_t in_page = slot % kPageSlots;
    std::int64_t count = kPageSlots - in_page;
    if (count > run.end - slot) count = run.end - slot;
    if (count > kAttentionChunk - ordinal) count = kAttentionChunk - ordinal;
    const std::int64_t page = query.pages[slot / kPageSlots];
    const std::int64_t base = (page * tile.pages.num_kv_heads + tile.kv_head) * head_elements;
    pieces.items[pieces.size++] = {
        static_cast<const Element*>(tile.pages.keys) + base,
        static_cast<const Element*>(tile.pages.values) + base, static_cast<std::int32_t>(in_page),
        static_cast<std::int32_t>(count), static_cast<std::int32_t>(ordinal)};
    ordinal += count;
    cursor.end += static_cast<std::int32_t>(count);
    if (run.begin + cursor.end == run.end) cursor = {cursor.begin + 1, 0};
  }
  return ordinal;
}

// Cuts the first `count` ordinals off a piece.
template <typename Element>
FORESIGHT_INLINE Piece<Element> split_front(Piece<Element>& piece, std::int32_t count) {
  Piece<Element> front = piece;
  front.count = count;
  piece.slot += count;
  piece.count -= count;
  piece.ordinal += count;
  return front;
}

// Moves the leading ordinals that lie in the same slots for all `num_lists` lists into `common`;
// each list keeps its rest, from the index in `rest_begin` onwards.
template <typename Element>
void split_common(Pieces<Element>* lists, std::int64_t num_lists, Pieces<Element>& common,
                  std::int64_t* rest_begin) {
  common.size = 0;
  std::int64_t next = 0;
  for (bool whole = true; whole && next < lists[0].size; ++next) {
    std::int32_t count = lists[0].items[next].count;
    for (std::int64_t i = 1; i < num_lists; ++i) {
      if (next >= lists[i].size) {
        count = 0;
        break;
      }
      const Piece<Element>& other = lists[i].items[next];
      const bool same_start =
          other.keys == lists[0].items[next].keys && other.slot == lists[0].items[next].slot;
      count = !same_start ? 0 : other.count < count ? other.count : count;
    }
    if (count == 0) break;
    Piece<Element> front{};
    for (std::int64_t i = 0; i < num_lists; ++i) {
      front = split_front(lists[i].items[next], count);
      whole = whole && lists[i].items[next].count == 0;
    }
    common.items[common.size++] = front;
    if (!whole) break;
  }
  for (std::int64_t i = 0; i < num_lists; ++i) {
    rest_begin[i] = next;
    if (next < lists[i].size && lists[i].items[next].count == 0) ++rest_begin[i];
  }
}

}  // namespace
}  // namespace foresight::ops::FORESIGHT_ISA_NS
