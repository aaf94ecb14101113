/** What must hold of runs, events and locks on the compiled executable, whatever was killed in between. */
export {};
