"""Videos to bank on Ray. Import the module you need: a decode worker must not wait for torch."""
