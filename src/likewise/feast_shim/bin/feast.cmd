@"%LIKEWISE_PYTHON%" -P -m likewise %*
