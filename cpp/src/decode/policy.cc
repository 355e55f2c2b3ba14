#include "decode/policy.h"

namespace foresight {

Row causal_row(Token token, std::int64_t position, std::int32_t index, Ask ask) {
  Row row;
  row.token = token;
  row.position = static_cast<std::int32_t>(position);
  row.rank = index;
  row.limit = index;
  row.ask = ask;
  return row;
}

}  // namespace foresight
