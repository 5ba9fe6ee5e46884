// Records are objects of C++, each with a string of its own.
#include <memory>
#include <string>
#include "work.h"

namespace {
struct Record {
	explicit Record(int mark) : text(900, static_cast<char>(mark)) {}
	std::string text;
};
Record *kept;
} // namespace

__attribute__((noinline)) Record *make_record(int mark)
{
	return new Record(mark); /* planted */
}

void lose() { kept = make_record(1); }

void give_back()
{
	delete kept;
	kept = nullptr;
}

int churn(int rounds)
{
	bool good = true;
	for (int i = 0; i < rounds; i++) {
		std::unique_ptr<Record> one{make_record(i & 127)}, other{make_record(~i & 127)};
		good &= one->text.back() == static_cast<char>(i & 127);
		good &= other->text.front() == static_cast<char>(~i & 127);
	}
	return good;
}

void use() { churn(10); }
