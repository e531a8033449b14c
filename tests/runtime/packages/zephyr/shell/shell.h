/* A shell with one set of commands, which reads standard input once main() has returned. */
#ifndef STUB_SHELL_H
#define STUB_SHELL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shell {
    int unused;
};
typedef int (*shell_handler)(const struct shell *sh, size_t argc, char **argv);
struct shell_command {
    const char *name, *help;
    shell_handler handler;
    int mandatory, optional;
};

#define SHELL_OPT_ARG_RAW 0xFE
#define SHELL_CMD_ARG(name, sub, help, handler, mandatory, optional) {#name, help, handler, mandatory, optional}
#define SHELL_SUBCMD_SET_END {NULL, NULL, NULL, 0, 0}
#define SHELL_STATIC_SUBCMD_SET_CREATE(name, ...) static const struct shell_command name[] = {__VA_ARGS__}
#ifdef __arm__ /* compiled for its size: the shell's own code is not part of it */
#define SHELL_CMD_REGISTER(word, commands, help, handler) const struct shell_command *const stub_commands = *(commands)
#else
#define SHELL_CMD_REGISTER(word, commands, help, handler)                                                                        \
    static void read_all(void) __attribute__((destructor));                                                                      \
    static void read_all(void) { stub_read(#word, *(commands)); }                                                                \
    extern int stub_unused
#endif
#define shell_print(sh, ...) ((void)(sh), printf(__VA_ARGS__), puts(""))
#define shell_error shell_print

/* Each line: the word, a command of the set, and the rest as one argument if there is a rest. */
static inline void stub_read(const char *word, const struct shell_command *commands)
{
    static const struct shell sh;
    static char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *const first = strtok(line, " "), *argv[2] = {strtok(NULL, " "), strtok(NULL, "")};
        const struct shell_command *found = commands;
        while (found->name != NULL && (argv[0] == NULL || strcmp(found->name, argv[0]) != 0)) {
            found++;
        }
        if (first == NULL || strcmp(first, word) != 0 || found->name == NULL || found->optional != SHELL_OPT_ARG_RAW) {
            puts("command not found");
        } else {
            (void)found->handler(&sh, argv[1] != NULL ? 2 : 1, argv);
        }
    }
    fflush(stdout);
}
#endif
