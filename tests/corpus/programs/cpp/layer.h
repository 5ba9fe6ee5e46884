#pragma once
#ifdef __cplusplus
extern "C"
#endif
int draw(int n, int careful);
