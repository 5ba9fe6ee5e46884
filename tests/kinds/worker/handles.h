struct handle;
struct handle *handle_open(int mark);
int handle_mark(const struct handle *one);
void handle_close(struct handle *one);
