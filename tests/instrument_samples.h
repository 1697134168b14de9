#pragma once
#include <cstdint>
#include <string>
#include <vector>

// Files and checks that the tests of the instruments share.
namespace glint::test {

// A NumPy file with this text as its head.
inline std::string NpyWithHead(const std::string& head, const std::string& data, int version = 1) {
  std::string file("\x93NUMPY");
  file += static_cast<char>(version);
  file += '\0';
  const size_t length_bytes = version == 1 ? 2 : 4;
  for (size_t i = 0; i < length_bytes; ++i) {
    file += static_cast<char>(head.size() >> (8 * i) & 0xFF);
  }
  return file + head + data;
}

template <class T>
std::string NpyFile(const std::string& type, const std::string& shape, const std::vector<T>& values,
                    int version = 1) {
  std::string head = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  head.append(117 - head.size() % 64, ' ');
  head += '\n';
  const std::string data(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return NpyWithHead(head, data, version);
}

// What is wrong with an XML document as our SVG is written (elements, attributes, text, entities):
// tags that do not match, stray marks, characters that XML forbids. Empty if nothing is.
inline std::string XmlFault(const std::string& text) {
  std::vector<std::string> open;
  size_t roots = 0;
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<uint8_t>(text[at]);
    if (c < 0x20 && c != '\n') return "control character";
    if (c == '>') return "stray >";
    if (c == '&') {
      bool known = false;
      for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;"}) {
        known = known || text.compare(at, std::string(entity).size(), entity) == 0;
      }
      if (!known) return "stray &";
    }
    if (c != '<') {
      if (open.empty() && c != '\n') return "text outside the root";
      ++at;
      continue;
    }
    const size_t end = text.find('>', at);
    if (end == text.npos) return "tag without end";
    std::string tag = text.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.find('<') != tag.npos) return "< within a tag";
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return "</" + tag.substr(1) + "> unopened";
      open.pop_back();
      continue;
    }
    const bool closed = tag.ends_with('/');
    if (closed) tag.pop_back();
    size_t quotes = 0;
    for (const char q : tag) quotes += q == '"' ? 1 : 0;
    if (quotes % 2 != 0) return "odd quotes in " + tag;
    if (open.empty() && ++roots > 1) return "two roots";
    if (!closed) open.push_back(tag.substr(0, tag.find(' ')));
  }
  if (!open.empty()) return "<" + open.back() + "> is not closed";
  for (const char* bad : {"\xEF\xBF\xBE", "\xEF\xBF\xBF", "inf\"", "nan\""}) {
    if (text.find(bad) != text.npos) return "forbidden text";
  }
  return roots == 1 ? "" : "no root";
}

}  // namespace glint::test
