// Answers as small numbers: controllers compare and count them, and never look inside.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace foresight {

// Index into the request's AnswerBook.
using AnswerId = std::int32_t;
inline constexpr AnswerId kNoAnswer = -1;

class AnswerBook {
 public:
  // The number of a text: the same for equal texts, counted from 0 in order of first appearance.
  AnswerId id_of(const std::string& text) {
    const auto [place, is_new] = ids_.try_emplace(text, static_cast<AnswerId>(texts_.size()));
    if (is_new) texts_.push_back(text);
    return place->second;
  }
  // Throws std::out_of_range for a number that was never given.
  const std::string& text(AnswerId id) const { return texts_.at(static_cast<std::size_t>(id)); }
  std::int64_t size() const { return static_cast<std::int64_t>(texts_.size()); }

 private:
  std::unordered_map<std::string, AnswerId> ids_;
  std::vector<std::string> texts_;
};

}  // namespace foresight
