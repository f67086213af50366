"""The console command `recg`: what is no stage of the pipeline."""
