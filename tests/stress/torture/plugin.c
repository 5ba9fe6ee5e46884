/* Loaded and unloaded again and again; allocates through slots of its own. */
#include <stdlib.h>
#include <string.h>

static char *kept;

__attribute__((constructor)) static void begin(void) { kept = strdup("constructed"); }
__attribute__((destructor)) static void end(void) { free(kept); }

int plugin_work(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        char *block = malloc((size_t)i % 200 + 1);
        block[0] = (char)i;
        sum += block[0] != 0;
        free(block);
    }
    return sum;
}
