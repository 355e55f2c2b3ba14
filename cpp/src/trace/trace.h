// What happened during decoding, told as events to a sink. The room knows nothing about decoding:
// it receives names and numbers.
#pragma once

#include <cstdint>
#include <ranges>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "trace/counters.h"

namespace foresight {

using IntList = std::vector<std::int64_t>;

// For lists of narrower integers, such as tokens.
template <std::ranges::input_range Range>
IntList int_list(const Range& numbers) {
  return IntList(std::ranges::begin(numbers), std::ranges::end(numbers));
}

struct TraceField {
  std::string_view name;  // unique within the event; not kind, seconds, step or branch
  std::variant<std::int64_t, double, std::string, IntList, std::vector<double>> value;
};

struct TraceEvent {
  std::string_view kind;
  double seconds = 0.0;      // since the start of the call
  std::int64_t step = -1;    // -1: the event belongs to no step
  std::int64_t branch = -1;  // -1: the event belongs to no branch
  std::vector<TraceField> fields;
};

// Receives events; borrowed by whoever emits them. Sinks may be called from several threads.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  // Everything the event refers to is valid for the duration of the call only.
  virtual void write(const TraceEvent& event) = 0;
  // Hands on whatever is held back: called at the end of each call of generate().
  virtual void flush() = 0;
};

}  // namespace foresight
