#include "trace/json.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

namespace foresight {
namespace {

template <typename Value>
std::string json(const Value& value) {
  std::string out;
  append_json(out, value);
  return out;
}
std::string json_text(std::string_view text) { return json(text); }

TEST(Json, StringsAreQuotedAndEscaped) {
  EXPECT_EQ(json_text(""), R"("")");
  EXPECT_EQ(json_text("plain / text"), R"("plain / text")");
  EXPECT_EQ(json_text("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(json_text("1\n2\r3\t4"), R"("1\n2\r3\t4")");
  EXPECT_EQ(json_text(std::string_view("\0\x01\x1f\x7f", 4)), "\"\\u0000\\u0001\\u001f\x7f\"");
}

TEST(Json, Utf8PassesThrough) {
  const std::string text = "é €  𝛑 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf";
  EXPECT_EQ(json_text(text), "\"" + text + "\"");
}

TEST(Json, WhatIsNotUtf8IsReplaced) {
  const std::string mark = "\xef\xbf\xbd";
  EXPECT_EQ(json_text("a\xff\x62"), "\"a" + mark + "b\"");
  EXPECT_EQ(json_text("\x80"), "\"" + mark + "\"");
  EXPECT_EQ(json_text("\xe2\x82"), "\"" + mark + mark + "\"") << "cut off";
  EXPECT_EQ(json_text("\xe2\""), "\"" + mark + "\\\"\"") << "the quote is not part of it";
  EXPECT_EQ(json_text("\xc0\xaf"), "\"" + mark + mark + "\"") << "overlong";
  EXPECT_EQ(json_text("\xed\xa0\x80"), "\"" + mark + mark + mark + "\"") << "a surrogate";
  EXPECT_EQ(json_text("\xf4\x90\x80\x80"), "\"" + mark + mark + mark + mark + "\"") << "too high";
}

TEST(Json, Integers) {
  EXPECT_EQ(json(std::int64_t{0}), "0");
  EXPECT_EQ(json(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(json(std::numeric_limits<std::int64_t>::max()), "9223372036854775807");
  EXPECT_EQ(json(IntList{}), "[]");
  EXPECT_EQ(json(IntList{1, -2, 3}), "[1,-2,3]");
}

TEST(Json, FloatsReadBackTheSame) {
  for (double number : {0.1, -1.0 / 3.0, 1e300, 5e-324, 123456789.125, 0.0, 3.0}) {
    const std::string text = json(number);
    EXPECT_EQ(std::strtod(text.c_str(), nullptr), number) << text;
  }
  EXPECT_EQ(json(0.1), "0.1");
  EXPECT_EQ(json(3.0), "3.0");
  EXPECT_EQ(json(-0.0), "-0.0");
  EXPECT_EQ(json(1e300), "1e+300");
}

TEST(Json, WhatJsonCannotSayIsNull) {
  EXPECT_EQ(json(std::numeric_limits<double>::quiet_NaN()), "null");
  EXPECT_EQ(json(std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(json(-std::numeric_limits<double>::infinity()), "null");
}

TEST(Json, EventsAreOneObject) {
  const std::int32_t tokens[] = {5, 6};
  const TraceEvent event{.kind = "commit",
                         .seconds = 0.25,
                         .step = 3,
                         .branch = 0,
                         .fields = {{"tokens", int_list(tokens)},
                                    {"count", 2},
                                    {"logprob", -0.5},
                                    {"reason", "eos \"</s>\""}}};
  EXPECT_EQ(json(event), R"({"kind":"commit","seconds":0.25,"step":3,"branch":0,)"
                         R"("tokens":[5,6],"count":2,"logprob":-0.5,"reason":"eos \"</s>\""})");
}

TEST(Json, EventsOutsideStepsAndBranchesDoNotNameThem) {
  EXPECT_EQ(json(TraceEvent{.kind = "start", .fields = {}}), R"({"kind":"start","seconds":0.0})");
}

}  // namespace
}  // namespace foresight
