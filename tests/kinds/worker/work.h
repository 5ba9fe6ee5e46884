/* What each kind has of its own. */
#ifdef __cplusplus
extern "C" {
#endif
void lose(void);      /* makes a record and keeps it; the one of before is lost */
void give_back(void); /* gives back the one that is kept */
void use(void);       /* makes some and gives all of them back */
int churn(int rounds); /* the same, as often; 1 if every record was as it should be */
#ifdef __cplusplus
}
#endif
