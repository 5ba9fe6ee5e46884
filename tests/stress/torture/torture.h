#ifndef TORTURE_H
#define TORTURE_H

/* Each does its part once and returns 1 if all was as it should be. `blocks` counts pairs of malloc
 * and free that this file's own C made, and only those. */
extern unsigned long long pairs, kept_blocks, kept_bytes;

void count_pairs(unsigned long long n);
void *keep_block(unsigned long size);
int churn(int n);
int fork_and_exit(int churns);
int fork_and_exec(const char *program);
int open_and_close(const char *library);
int threads_once(int n);
int throw_and_catch(int depth);
int jump_out(int depth);
int recurse(int depth);
int by_way(unsigned way, int depth);
int map_and_unmap(int n);
int start_timer(int hertz, int allocate_in_handler);
unsigned long long handled(void);
int call_back(int depth);
int start_profiling_timer(int hertz);
int raise_signal(int number);

#endif
