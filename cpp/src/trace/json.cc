#include "trace/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace foresight {
namespace {

constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

template <typename Number>
void append_number(std::string& out, Number number) {
  char text[32];
  const auto result = std::to_chars(text, text + sizeof text, number);
  out.append(text, result.ptr);
}

// Bytes of the UTF-8 character that `text` begins with; 0 when it begins with none (Unicode 15,
// table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  const unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < least || byte(1) > most) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

void append_escaped(std::string& out, char character) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (character) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (character >= 0x20) {
    out += character;
  } else {
    out += "\\u00";
    out += kHex[character >> 4];
    out += kHex[character & 15];
  }
}

template <typename Number>
void append_list(std::string& out, const std::vector<Number>& numbers) {
  out += '[';
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0) out += ',';
    append_json(out, numbers[i]);
  }
  out += ']';
}

template <typename Value>
void append_member(std::string& out, std::string_view name, const Value& value) {
  if (out.back() != '{') out += ',';
  append_json(out, name);
  out += ':';
  append_json(out, value);
}

}  // namespace

void append_json(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 1) {
      append_escaped(out, text[0]);
    } else {
      out += length == 0 ? kReplacementCharacter : text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  out += '"';
}

void append_json(std::string& out, std::int64_t number) { append_number(out, number); }

void append_json(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  const std::size_t begin = out.size();
  append_number(out, number);
  // Readers should see a float even where it is whole.
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
}

void append_json(std::string& out, const IntList& numbers) { append_list(out, numbers); }

void append_json(std::string& out, const std::vector<double>& numbers) {
  append_list(out, numbers);
}

void append_json(std::string& out, const TraceEvent& event) {
  out += '{';
  append_member(out, "kind", event.kind);
  append_member(out, "seconds", event.seconds);
  if (event.step >= 0) append_member(out, "step", event.step);
  if (event.branch >= 0) append_member(out, "branch", event.branch);
  for (const TraceField& field : event.fields) {
    std::visit([&](const auto& value) { append_member(out, field.name, value); }, field.value);
  }
  out += '}';
}

}  // namespace foresight
