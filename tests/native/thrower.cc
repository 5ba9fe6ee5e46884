// Throws through whoever calls it, and catches outside of that.
#include <string>

struct Guard {
    int *left;
    ~Guard() { ++*left; }
};

extern "C" int throws(int deep)
{
    std::string text(64, 'x'); // has to be destroyed on the way out
    if (deep > 0)
        return throws(deep - 1) + static_cast<int>(text.size());
    throw 42;
}

extern "C" int catches(int (*hooked)(int))
{
    int left = 0;
    int caught = 0;
    try {
        Guard guard{&left};
        hooked(3);
    } catch (int what) {
        caught = what;
    }
    return left == 1 ? caught : -1;
}
