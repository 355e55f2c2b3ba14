// Writes JSON (RFC 8259) onto the end of a string. Numbers and strings only: the core parses none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trace/trace.h"

namespace foresight {

// Quoted and escaped. Bytes that are not UTF-8 become U+FFFD, so that the text is valid JSON
// whatever it is made of.
void append_json(std::string& out, std::string_view text);
void append_json(std::string& out, std::int64_t number);
// The shortest text that reads back as the same double; null for what JSON cannot say (NaN,
// infinities).
void append_json(std::string& out, double number);
void append_json(std::string& out, const IntList& numbers);
void append_json(std::string& out, const std::vector<double>& numbers);
// One object without line breaks: kind, seconds, then step and branch unless -1, then the fields.
void append_json(std::string& out, const TraceEvent& event);

}  // namespace foresight
