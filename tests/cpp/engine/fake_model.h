// A model port without maths: its "logits" are a hash of what each row sees through its own fake
// K/V pages, so a wrong page, slot, copy, rank or ancestor changes the output, and reading a slot
// that nobody has written throws.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "model/port.h"

namespace foresight::engine_test {

class FakeModel final : public ModelPort {
 public:
  static constexpr std::int64_t kPageSlots = 4;
  static constexpr std::int64_t kVocab = 24;
  static constexpr std::int64_t kHidden = 3;
  static constexpr std::int64_t kLayers = 2;
  static constexpr std::size_t kPageBytes = 64;

  FakeModel() {
    config_.family = "fake";
    config_.vocab_size = kVocab;
    config_.hidden_size = kHidden;
    config_.num_layers = kLayers;
  }

  const ModelConfig& config() const override { return config_; }
  ModelConfig& config() { return config_; }
  std::size_t page_bytes() const override { return kPageBytes; }
  std::int64_t page_slots() const override { return kPageSlots; }
  std::size_t packed_bytes() const override { return 0; }
  void allocate_pages(std::int64_t num_pages) override {
    slots_.assign(static_cast<std::size_t>(num_pages * kPageSlots), Slot{});
  }

  void copy_slots(std::span<const SlotCopy> copies) override {
    for (const SlotCopy& copy : copies) {
      // A page may be left with slots that were never written: they are copied as they are.
      at(copy.to_page, copy.to_slot) = at(copy.from_page, copy.from_slot);
    }
    if (!copies.empty() && copies_until_failure-- == 0) throw std::runtime_error("copy failed");
  }

  ForwardResult forward(const ForwardBatch& batch) override {
    if (forwards_until_failure-- == 0) throw std::runtime_error("forward failed");
    ++num_forwards;
    num_rows += static_cast<std::int64_t>(batch.tokens.size());
    for (const SegmentInput& segment : batch.segments) write_keys(batch, segment);
    sums_.assign(batch.tokens.size(), 0);
    for (const SegmentInput& segment : batch.segments) mix_rows(batch, segment, &Slot::key);
    for (const SegmentInput& segment : batch.segments) write_values(batch, segment);
    sums_.assign(batch.tokens.size(), 0);
    for (const SegmentInput& segment : batch.segments) mix_rows(batch, segment, &Slot::value);
    logits_.clear();
    for (const std::int32_t row : batch.logit_rows) {
      const std::uint64_t sum = sums_.at(static_cast<std::size_t>(row));
      for (std::int64_t v = 0; v < kVocab; ++v) {
        logits_.push_back(number(mix64(sum, static_cast<std::uint64_t>(v))));
      }
      if (rewrite) {
        const auto index = static_cast<std::size_t>(row);
        rewrite(batch.tokens[index], batch.positions[index],
                std::span(logits_).last(static_cast<std::size_t>(kVocab)));
      }
    }
    hidden_.clear();
    for (const std::int32_t row : batch.hidden_rows) {
      for (const std::int32_t layer : batch.hidden_layers) {
        for (std::int64_t d = 0; d < kHidden; ++d) {
          hidden_.push_back(number(mix64(sums_.at(static_cast<std::size_t>(row)),
                                         static_cast<std::uint64_t>(1000 + layer * 10 + d))));
        }
      }
    }
    return {.logits = logits_.data(), .hidden = hidden_.data()};
  }

  // The call with this many calls before it throws; negative: none.
  std::int64_t forwards_until_failure = -1;
  std::int64_t copies_until_failure = -1;
  // Changes the logits of a row with this token at this position.
  std::function<void(Token, std::int32_t, std::span<float>)> rewrite;
  std::int64_t num_forwards = 0;
  std::int64_t num_rows = 0;

 private:
  // Two layers deep: what a row leaves behind depends on what it saw.
  struct Slot {
    bool is_written = false;
    std::uint64_t key = 0;
    std::uint64_t value = 0;
  };

  static float number(std::uint64_t bits) { return static_cast<float>(bits >> 44) / 131072.0f; }

  Slot& at(std::int32_t page, std::int32_t slot) {
    FORESIGHT_CHECK(slot >= 0 && slot < kPageSlots, "slot of a page");
    return slots_.at(static_cast<std::size_t>(page * kPageSlots + slot));
  }
  Slot& slot_of(const SegmentInput& segment, std::int64_t slot) {
    return at(segment.pages[static_cast<std::size_t>(slot / kPageSlots)],
              static_cast<std::int32_t>(slot % kPageSlots));
  }

  void write_keys(const ForwardBatch& batch, const SegmentInput& segment) {
    FORESIGHT_CHECK(std::ssize(segment.pages) * kPageSlots >= segment.num_cached + segment.num_rows,
                    "pages cover the rows");
    for (std::int64_t i = 0; i < segment.num_rows; ++i) {
      const auto row = static_cast<std::size_t>(segment.first_row + i);
      slot_of(segment, segment.num_cached + i) = {
          .is_written = true,
          .key = mix64(static_cast<std::uint64_t>(batch.tokens.at(row)),
                       static_cast<std::uint64_t>(batch.positions.at(row)))};
    }
  }

  void write_values(const ForwardBatch& batch, const SegmentInput& segment) {
    for (std::int64_t i = 0; i < segment.num_rows; ++i) {
      Slot& slot = slot_of(segment, segment.num_cached + i);
      slot.value = mix64(slot.key, sums_[static_cast<std::size_t>(segment.first_row + i)]);
    }
    static_cast<void>(batch);
  }

  bool sees(const ForwardBatch& batch, const SegmentInput& segment, std::int64_t query,
            std::int64_t key) const {
    if (query == key) return true;
    if (!segment.ancestors.empty()) {
      const std::int64_t words = (segment.num_rows + 63) / 64;
      const auto word = static_cast<std::size_t>(query * words + key / 64);
      return ((segment.ancestors[word] >> (key % 64)) & 1u) != 0;
    }
    return batch.ranks.at(static_cast<std::size_t>(segment.first_row + key)) <=
           batch.limits.at(static_cast<std::size_t>(segment.first_row + query));
  }

  // A sum, so that the order of keys does not matter but their number does.
  void mix_rows(const ForwardBatch& batch, const SegmentInput& segment,
                std::uint64_t Slot::*member) {
    for (std::int64_t query = 0; query < segment.num_rows; ++query) {
      std::uint64_t sum = 0;
      const auto add = [&](std::int64_t number) {
        const Slot& slot = slot_of(segment, number);
        FORESIGHT_CHECK(slot.is_written, concat("slot ", number, " was never written"));
        sum += mix64(slot.key, slot.*member);
      };
      auto hidden = segment.hidden_slots.begin();
      for (std::int64_t slot = 0; slot < segment.num_cached; ++slot) {
        if (hidden != segment.hidden_slots.end() && *hidden == slot) {
          ++hidden;
        } else {
          add(slot);
        }
      }
      FORESIGHT_CHECK(hidden == segment.hidden_slots.end(), "hidden slots are cached, ascending");
      for (std::int64_t key = 0; key < segment.num_rows; ++key) {
        if (sees(batch, segment, query, key)) add(segment.num_cached + key);
      }
      sums_[static_cast<std::size_t>(segment.first_row + query)] = sum;
    }
  }

  ModelConfig config_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> sums_;
  std::vector<float> logits_;
  std::vector<float> hidden_;
};

}  // namespace foresight::engine_test
