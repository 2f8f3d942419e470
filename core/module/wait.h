/*
 * wait.h - the tables of waits, made before the loops run and freed after.
 */
#ifndef CORE_MODULE_WAIT_H
#define CORE_MODULE_WAIT_H

void gac_waits_init(void);
void gac_waits_free(void);

#endif
