/* Records are statements of SQLite. */
#include <sqlite3.h>
#include <stddef.h>
#include "work.h"

static __thread sqlite3 *database;
static sqlite3 *shared;
static sqlite3_stmt *kept;

static sqlite3_stmt *make_record(sqlite3 **in, int value) __attribute__((noinline));
static sqlite3_stmt *make_record(sqlite3 **in, int value)
{
	sqlite3_stmt *made = NULL;
	if (*in == NULL && sqlite3_open(":memory:", in) != SQLITE_OK) return NULL;
	if (sqlite3_prepare_v2(*in, "select ? + 1", -1, &made, NULL) != SQLITE_OK) return NULL; /* planted */
	if (sqlite3_bind_int(made, 1, value) != SQLITE_OK) return NULL;
	return made;
}

void lose(void) { kept = make_record(&shared, 1); }

void give_back(void)
{
	sqlite3_finalize(kept);
	kept = NULL;
}

int churn(int rounds)
{
	int good = 1;
	for (int i = 0; i < rounds; i++) {
		sqlite3_stmt *one = make_record(&database, i);
		good &= one != NULL && sqlite3_step(one) == SQLITE_ROW && sqlite3_column_int(one, 0) == i + 1;
		good &= sqlite3_finalize(one) == SQLITE_OK;
	}
	return good;
}

void use(void) { churn(3); }
